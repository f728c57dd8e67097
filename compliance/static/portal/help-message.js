/* The HELP message's editor: the canned text takes the place of what was typed only after a question. */

document.addEventListener("click", (event) => {
    const canned = event.target.closest("button[name=_canned]");
    const field = canned && canned.form.elements.text;
    if (field && field.value.trim() !== canned.dataset.live && !confirm("What you typed is not saved. Use the canned text all the same?")) {
        event.preventDefault();
    }
});
