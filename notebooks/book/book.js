// A button that copies each block of code, and pictures that a click or a key enlarges.

function addCopyButton(block) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("pre");
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } else {
      getSelection().selectAllChildren(code); // pages from a server without HTTPS
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  block.append(button);
}

function makeEnlargeable(picture, dialog) {
  if (picture.closest("a")) return;
  const button = document.createElement("button");
  button.className = "enlarge";
  button.type = "button";
  button.setAttribute("aria-label", "Enlarge: " + (picture.alt || "picture"));
  picture.replaceWith(button);
  button.append(picture);
  button.addEventListener("click", () => {
    const large = picture.cloneNode();
    large.removeAttribute("width");
    large.removeAttribute("style");
    dialog.replaceChildren(large);
    dialog.showModal();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("article .highlight")) {
    if (!block.closest(".cell_output")) addCopyButton(block);
  }
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", "Enlarged picture; Escape closes it");
  dialog.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  document
    .querySelectorAll("article img")
    .forEach((picture) => makeEnlargeable(picture, dialog));
});
