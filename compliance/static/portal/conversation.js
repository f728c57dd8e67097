// Keeps an open conversation as it is on the server: asks once a second, and puts what changed into the page.
// The server decides everything; without this script the pages work by loading them again.
"use strict";

(() => {
  const POLL_EVERY = 1000; // milliseconds
  const GIVE_UP_AFTER = 8000; // milliseconds until an answer counts as lost
  const COUNT_AFTER = 250; // milliseconds without a keystroke
  const AS_SCRIPT = { "X-Requested-With": "fetch" };

  // "manual": a redirect leads to the login, and must not pass for an answer.
  function ask(address, options = {}) {
    return fetch(address, {
      redirect: "manual",
      signal: AbortSignal.timeout(GIVE_UP_AFTER),
      ...options,
      headers: { ...AS_SCRIPT, ...options.headers },
    });
  }

  function parsed(html) {
    return new DOMParser().parseFromString(html, "text/html");
  }

  function csrfToken(form) {
    return form.querySelector("[name=csrfmiddlewaretoken]").value;
  }

  // Counting segments, and Ctrl+Enter ------------------------------------------------------------------------------

  function count(textarea, form) {
    const shown = form.querySelector("[data-segments]");
    let timer;
    let asked = 0;
    const update = async () => {
      const mine = ++asked;
      const body = new URLSearchParams({ text: textarea.value });
      try {
        const answer = await ask(textarea.dataset.counted, {
          method: "POST",
          body,
          headers: { "X-CSRFToken": csrfToken(form) },
        });
        if (answer.ok && mine === asked) shown.textContent = (await answer.text()).trim();
      } catch {
        shown.textContent = "";
      }
    };
    textarea.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(update, COUNT_AFTER);
    });
    textarea.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    if (textarea.value) update();
    return update;
  }

  // One conversation ------------------------------------------------------------------------------------------------

  class LivePage {
    constructor(root) {
      this.root = root;
      this.address = root.dataset.conversation;
      this.version = root.dataset.version;
      this.thread = root.querySelector("[data-thread]");
      this.texts = root.querySelector("[data-texts]");
      this.notice = root.querySelector("[data-notice]");
      this.offline = root.querySelector("[data-offline]");
      this.composer = root.querySelector("[data-composer]");
      this.fields = root.querySelector("[data-fields]");
      this.errors = root.querySelector("[data-errors]");
      this.older = root.querySelector("[data-older]");
      this.failures = 0;
      this.wasTypedIn = false;
      if (this.composer) this.prepareComposer();
      this.prepareOlder();
      document.addEventListener("visibilitychange", () => document.hidden || this.poll());
      window.addEventListener("pageshow", (event) => event.persisted && this.poll());
      this.plan();
    }

    // Asking ---------------------------------------------------------------------------------

    plan() {
      clearTimeout(this.timer);
      // Longer and longer pauses while the portal is away, up to a quarter of a minute.
      this.timer = setTimeout(() => this.poll(), Math.min(POLL_EVERY * 2 ** this.failures, 15000));
    }

    async poll() {
      clearTimeout(this.timer);
      if (document.hidden || this.isStopped) return; // coming back asks again
      try {
        const joint = this.address.includes("?") ? "&" : "?";
        const answer = await ask(`${this.address}${joint}v=${encodeURIComponent(this.version)}`);
        if (answer.type === "opaqueredirect" || answer.status === 403 || answer.status === 404) {
          this.stop();
          return;
        }
        if (answer.status === 200) this.show(parsed(await answer.text()));
        else if (answer.status !== 204) throw new Error(answer.status);
        this.failures = 0;
        this.offline.hidden = true;
      } catch {
        this.failures += 1;
        this.offline.hidden = this.failures < 3;
      }
      this.plan();
    }

    stop() {
      this.isStopped = true;
      this.offline.hidden = true;
      this.root.querySelector("[data-logged-out]").hidden = false;
      if (this.fields) this.fields.disabled = true;
    }

    // Showing --------------------------------------------------------------------------------

    show(page) {
      const live = page.querySelector("[data-live]");
      if (!live) throw new Error("no live part");
      this.version = live.dataset.version;
      this.showTexts(live.querySelector("[data-texts]"));
      this.showStanding(live.querySelector("[data-notice]"), live.dataset.canWrite === "yes");
      return live;
    }

    showTexts(newer) {
      const arrived = [...newer.children];
      const known = [...this.texts.children];
      const newest = Number(known.at(-1)?.dataset.id ?? 0);
      if (known.length && arrived.length && Number(arrived[0].dataset.id) > newest && newer.dataset.hasOlder === "yes") {
        // More came than one answer holds: begin anew from here.
        this.texts.replaceChildren(...arrived);
        this.texts.dataset.oldest = newer.dataset.oldest;
        this.older.hidden = false;
      } else {
        const height = this.thread.scrollHeight;
        for (const text of arrived) this.showText(text);
        // Counted from the bottom, so what is being read moves when something comes below it.
        if (this.thread.scrollTop < -40) this.thread.scrollTop -= this.thread.scrollHeight - height;
      }
      this.showDays();
    }

    showText(text) {
      const known = document.getElementById(text.id);
      if (!known) {
        const id = Number(text.dataset.id);
        const after = [...this.texts.children].find((other) => Number(other.dataset.id) > id);
        this.texts.insertBefore(text, after ?? null);
      } else if (known.dataset.version !== text.dataset.version) {
        // Only the line with the state: the words were read out before.
        known.dataset.version = text.dataset.version;
        known.querySelector("[data-foot]").replaceWith(text.querySelector("[data-foot]"));
        known.querySelector(".text-body").className = text.querySelector(".text-body").className;
      }
    }

    showDays() {
      let day = "";
      for (const text of this.texts.children) {
        text.querySelector(".text-day").hidden = text.dataset.day === day;
        day = text.dataset.day;
      }
    }

    showStanding(notice, canWrite) {
      if (this.notice.innerHTML.trim() !== notice.innerHTML.trim() || this.reopened) {
        this.notice.replaceChildren(...notice.childNodes);
        this.reopened = false;
      }
      if (!this.fields || this.fields.disabled === !canWrite) return;
      const textarea = this.composer.elements.text;
      if (!canWrite) {
        this.wasTypedIn = this.fields.contains(document.activeElement);
        this.fields.disabled = true;
        this.errors.replaceChildren();
        // Whoever was typing hears why they no longer can, and keeps their place.
        if (this.wasTypedIn) this.notice.focus({ preventScroll: true });
      } else {
        const isNearby = [document.body, this.notice].includes(document.activeElement);
        this.fields.disabled = false;
        const reopened = this.root.querySelector("[data-reopened]").cloneNode(true);
        reopened.hidden = false;
        if (!textarea.value.trim()) reopened.querySelector("[data-kept]").remove();
        this.notice.append(reopened);
        this.reopened = true;
        if (this.wasTypedIn && isNearby) textarea.focus({ preventScroll: true });
      }
    }

    // Writing --------------------------------------------------------------------------------

    prepareComposer() {
      const textarea = this.composer.elements.text;
      const recount = count(textarea, this.composer);
      this.composer.addEventListener("submit", async (event) => {
        event.preventDefault();
        if (this.isSending || this.fields.disabled) return;
        this.isSending = true;
        const sent = textarea.value;
        const button = this.composer.querySelector("[type=submit]");
        button.setAttribute("aria-disabled", "true");
        try {
          const answer = await ask(this.composer.action, { method: "POST", body: new FormData(this.composer) });
          if (answer.type === "opaqueredirect" || answer.status === 403) {
            this.stop();
            return;
          }
          if (![200, 409, 422].includes(answer.status)) throw new Error(answer.status);
          const live = this.show(parsed(await answer.text()));
          this.composer.elements.key.value = live.dataset.key;
          this.errors.replaceChildren(...live.querySelector("[data-errors]").childNodes);
          if (answer.status === 200) {
            // What was typed meanwhile stays.
            if (textarea.value === sent) textarea.value = "";
            recount();
            this.thread.scrollTop = 0;
            textarea.focus({ preventScroll: true });
          }
        } catch {
          // The same key goes out with the next try: if it did arrive, it stays one text.
          this.errors.textContent = "No answer from the portal. Try again: the text is not sent twice.";
        } finally {
          this.isSending = false;
          button.removeAttribute("aria-disabled");
        }
      });
    }

    // Older texts, and whole ones --------------------------------------------------------------

    prepareOlder() {
      const link = this.older.querySelector("a");
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.loadOlder();
      });
      this.nearTop = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && this.loadOlder(), {
        root: this.thread,
        rootMargin: "200px 0px 0px 0px",
      });
      this.nearTop.observe(this.older);
      this.thread.addEventListener("click", (event) => {
        const all = event.target.closest("[data-show-all]");
        if (all) {
          event.preventDefault();
          this.showAll(all);
        }
      });
    }

    async loadOlder() {
      if (this.older.hidden || this.isLoading) return;
      this.isLoading = true;
      try {
        const answer = await ask(`${this.older.dataset.older}?before=${this.texts.dataset.oldest}`);
        if (answer.status !== 200) return;
        const found = parsed(await answer.text()).querySelector("[data-texts]");
        this.texts.prepend(...found.children);
        this.texts.dataset.oldest = found.dataset.oldest || this.texts.dataset.oldest;
        this.older.hidden = found.dataset.hasOlder !== "yes";
        this.showDays();
        // Asks once more, should the top still be near.
        this.nearTop.unobserve(this.older);
        this.nearTop.observe(this.older);
      } catch {
        // The link stays: it can be clicked again.
      } finally {
        this.isLoading = false;
      }
    }

    async showAll(link) {
      try {
        const answer = await ask(link.href);
        if (answer.status !== 200) return;
        link.parentElement.querySelector(".text-words").textContent = await answer.text();
        link.remove();
      } catch {
        // The link stays: it can be clicked again.
      }
    }
  }

  // A new conversation ------------------------------------------------------------------------------------------------

  function compose(form) {
    const shown = form.querySelector("[data-verdict]");
    let timer;
    const update = async () => {
      try {
        const answer = await ask(form.dataset.compose, { method: "POST", body: new FormData(form) });
        if (answer.status === 200) shown.replaceChildren(...parsed(await answer.text()).body.childNodes);
      } catch {
        shown.replaceChildren();
      }
    };
    for (const field of [form.elements.number, form.elements.to]) {
      field.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(update, COUNT_AFTER);
      });
    }
    count(form.elements.text, form);
    let isSent = false;
    form.addEventListener("submit", (event) => {
      if (isSent) event.preventDefault();
      isSent = true;
    });
    window.addEventListener("pageshow", () => (isSent = false));
    if (form.elements.to.value && !shown.children.length) update();
  }

  // -------------------------------------------------------------------------------------------------------------------

  for (const root of document.querySelectorAll("[data-conversation]")) new LivePage(root);
  for (const form of document.querySelectorAll("[data-compose]")) compose(form);
})();
