// names for the arrows that unfold the list of pages, which the theme leaves without
document.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll(".toctree-toggle")) {
    const link = arrow.closest("li")?.querySelector("a");
    arrow.closest("summary")?.setAttribute("aria-label", `Pages below ${link ? link.textContent.trim() : "this one"}`);
  }
});
