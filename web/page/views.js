// The views of the page, one of which is open. The URL's hash names it: `#photo`, or the id of an element in a view.

export class Views {
  /**
   * `opened` is called with each view that is opened. An element with `data-view` belongs to the view of that name, and
   * is hidden while another view is open.
   */
  constructor(names, opened) {
    Object.assign(this, { names, opened });
    this.open = null;
  }

  /** Opens the view that the URL names, or else the first one, and follows changes of the URL from then on. */
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
