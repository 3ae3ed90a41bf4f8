// The views of the page, of which one is open. The address remembers which: `#photo`, or the id of something in it.

export class Views {
  /**
   * `opened` is told of each view that is opened. What has `data-view` belongs to the view of that name, and is hidden
   * while another is open.
   */
  constructor(names, opened) {
    Object.assign(this, { names, opened });
    this.open = null;
  }

  /** Opens the view that the address names, or else the first, and follows it from then on. */
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
