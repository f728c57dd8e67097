"""The demo: two invented companies with a year behind them, served on this machine. `manage.py demo` runs it."""
