// From the disk a search result cannot fetch the page for its summary; it then does without, not with an error.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Opens the folded code that the page's address points to, in browsers that do not do so by themselves, and puts the
// keyboard there: links under figures lead to the code that drew them.

addEventListener("hashchange", openCode);
addEventListener("click", (event) => {
  const link = event.target.closest?.("a.figure-code");
  if (link && link.hash === location.hash) openCode(); // the same link again: the address does not change
});
openCode();

function openCode() {
  const code = location.hash.startsWith("#code-") && document.getElementById(location.hash.slice(1));
  const fold = code && code.closest("details");
  if (!fold) return;
  fold.open = true;
  fold.querySelector("summary").focus({ preventScroll: true });
  fold.scrollIntoView();
}
