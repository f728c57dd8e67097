// A button with data-copy="id" copies the value of that field; where the browser does not let it, it selects it.
document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
        await navigator.clipboard.writeText(field.value);
    } catch {
        return;
    }
    const words = button.querySelector("[data-copied]");
    const before = words.textContent;
    words.textContent = words.dataset.copied;
    setTimeout(() => { words.textContent = before; }, 2000);
});
