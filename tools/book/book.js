// Small repairs for keyboards and screen readers.
document.addEventListener("DOMContentLoaded", () => {
  // a label should hold the words that are seen on the button
  for (const button of document.querySelectorAll(".search-button-field, details > summary")) {
    button.removeAttribute("aria-label");
  }
  // what scrolls can be reached with the keyboard
  for (const box of document.querySelectorAll("article pre, .pst-scrollable-table-container")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
