// The views of the page. One view is open at a time. The hash of the URL names it, as `#photo`, or as the id of an
// element in the view.

export class Views {
  /**
   * `opened` is called with the name of a view when it is opened. An element with the attribute `data-view` belongs to
   * the view of that name, and is hidden while another view is open.
   */
  constructor(names, opened) {
    Object.assign(this, { names, opened });
    this.open = null;
  }

  /** Opens the view that the URL names, or the first view. From then on, changes of the URL open other views. */
  begin() {
    window.addEventListener("hashchange", () => this.#follow());
    this.#follow();
  }

  #follow() {
    const view = this.#named(window.location.hash.slice(1));
    if (view === this.open) return;
    this.open = view;
    for (const part of document.querySelectorAll("[data-view]")) part.hidden = part.dataset.view !== view;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.opened(view);
  }

  #named(name) {
    if (name === "") return this.names[0];
    if (this.names.includes(name)) return name;
    return document.getElementById(name)?.closest("[data-view]")?.dataset.view ?? this.open ?? this.names[0];
  }
}
