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
  // short names stay whole
  for (const code of document.querySelectorAll("article :not(pre) > code")) {
    if (code.textContent.length < 13) code.classList.add("whole");
  }
  if (location.pathname.endsWith("/docs/tr.html")) document.querySelector("article").lang = "tr";
  // from a search: mark the words, and go to the first
  if (typeof SphinxHighlight !== "undefined" && !document.getElementById("search-results")) {
    SphinxHighlight.highlightSearchWords();
    setTimeout(() => document.querySelector("article .highlighted")?.scrollIntoView({ block: "center" }), 100);
  }
});
// wide figures keep a size that can be read on a phone, and are moved sideways
addEventListener("load", () => {
  for (const image of document.querySelectorAll("div.cell_output img")) {
    if (image.naturalWidth > 700) image.classList.add("wide");
  }
  for (const box of document.querySelectorAll("div.cell_output")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
