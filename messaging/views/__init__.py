"""The pages of the middle floor: a conversation, a new one, and the phone simulator."""
