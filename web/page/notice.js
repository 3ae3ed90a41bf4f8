// Shows one message at a time, with at most one action.

export class Notice {
  /** `back` returns the element that gets the focus after the visitor has closed the notice. */
  constructor({ box, text, action, close, back }) {
    Object.assign(this, { box, text, action });
    close.addEventListener("click", () => {
      this.hide();
      back()?.focus();
    });
    action.addEventListener("click", () => {
      const { act } = this;
      this.hide();
      act?.();
    });
  }

  /** `kind` is the name of an error, or `Info`. */
  show(kind, message, action) {
    this.box.dataset.kind = kind;
    this.text.textContent = message;
    this.act = action?.act;
    this.action.textContent = action?.label ?? "";
    this.action.hidden = !action;
    this.box.hidden = false;
  }

  hide() {
    this.box.hidden = true;
    this.act = null;
    delete this.box.dataset.kind;
  }
}
