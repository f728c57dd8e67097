// The phone simulator: sends what the phone texts, and shows once a second what the phone got.
"use strict";

(() => {
  const POLL_EVERY = 1000; // milliseconds
  const root = document.querySelector("[data-simulator]");
  if (!root) return;
  const place = root.querySelector("[data-handset-place]");
  const form = root.querySelector("[data-handset-form]");
  const answered = root.querySelector("[data-answer-place]");
  const choice = root.querySelector("[data-choice]");
  const frame = () => root.querySelector("[data-sender-frame]");
  const handset = () => place.querySelector("[data-handset]");
  let timer;

  function show(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.querySelector("[data-handset]");
    if (!fresh) return;
    const answer = fresh.querySelector("[data-answer]");
    if (answer.textContent) {
      answered.textContent = answer.textContent;
      answered.classList.toggle("handset-answer-wrong", answer.classList.contains("handset-answer-wrong"));
    }
    answer.remove();
    const changed = fresh.dataset.version !== handset().dataset.version;
    if (changed) {
      place.replaceChildren(fresh);
      place.scrollTop = 0;
    }
    showSender(fresh.dataset.sender);
  }

  // The first text makes the conversation: from then on its page stands beside the phone.
  function showSender(address) {
    if (!address) return;
    const none = root.querySelector("[data-sender-none]");
    if (none) {
      const made = document.createElement("iframe");
      made.src = address;
      made.title = "The sender's conversation page";
      made.dataset.senderFrame = "";
      none.replaceWith(made);
    } else if (frame().contentWindow.location.pathname.endsWith("/conversations/new/")) {
      frame().src = address;
    }
  }

  async function poll() {
    clearTimeout(timer);
    if (document.hidden) return;
    const asked = new URLSearchParams({
      number: form.elements.number.value,
      phone: form.elements.phone.value,
      v: handset().dataset.version,
    });
    try {
      const answer = await fetch(`${root.dataset.simulator}?${asked}`, {
        redirect: "manual",
        signal: AbortSignal.timeout(8000),
      });
      if (answer.status === 200) show(await answer.text());
    } catch {
      // The next one may be luckier.
    }
    timer = setTimeout(poll, POLL_EVERY);
  }

  async function send(words) {
    if (!words || !form.elements.phone.value) return false;
    const body = new FormData(form);
    body.set("text", words);
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body,
        headers: { "X-Requested-With": "fetch" },
        redirect: "manual",
      });
      show(await answer.text());
      return answer.ok;
    } catch {
      answered.textContent = "No answer from the portal.";
      return false;
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = form.elements.text.value;
    if ((await send(words)) && form.elements.text.value === words) form.elements.text.value = "";
    form.elements.text.focus();
  });
  form.elements.text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  for (const button of form.querySelectorAll("[data-quick]")) {
    button.addEventListener("click", () => send(button.dataset.quick));
  }
  choice.elements.number.addEventListener("change", () => {
    choice.elements.phone.disabled = true; // another number has its own recipients
    choice.submit();
  });
  document.addEventListener("visibilitychange", () => document.hidden || poll());
  timer = setTimeout(poll, POLL_EVERY);
})();
