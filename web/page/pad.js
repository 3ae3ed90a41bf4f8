// A pad for drawing a digit, and ten bars with the network's probabilities for it.

import { largest, paint } from "./digits.js";

const SIZE = 280;
const PEN = 22;
/** Pixels by which an arrow key moves the pen. */
const MOVE = 7;

export class Pad {
  /**
   * `asMnist(ink, width)` converts a drawing to an image like those of MNIST. `on` has two callbacks: changed() is
   * called after the image has changed, and failed(error) after an error.
   */
  constructor(elements, asMnist, on) {
    Object.assign(this, elements, { asMnist, on });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.image = null;
    this.ink = null;
    this.clearings = 0;
    this.pen = { x: SIZE / 2, y: SIZE / 3, down: false };
    this.#makeBars();
    this.canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => { this.last = null; });
    }
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => { this.pen.down = false; this.#show(); });
    this.strokes = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.strokes.canvas.width = this.strokes.canvas.height = SIZE;
    this.clearButton.addEventListener("click", () => this.clear());
    this.clear();
  }

  #makeBars() {
    const rows = Array.from({ length: 10 }, (_, digit) => {
      const row = document.createElement("li");
      row.dataset.digit = digit;
      row.innerHTML = `<span>${digit}</span><span class="track"><span class="fill"></span></span><span>–</span>`;
      return row;
    });
    this.bars.replaceChildren(...rows);
    this.rows = rows;
  }

  clear() {
    this.strokes.clearRect(0, 0, SIZE, SIZE);
    this.image = null;
    this.ink = null;
    this.clearings += 1;
    this.last = null;
    paint(this.seen, new Uint8Array(784));
    for (const row of this.rows) this.#bar(row, 0, "–", false);
    this.guess.textContent = "Draw with mouse, pen or finger.";
    this.#show();
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * SIZE) / box.width, y: ((event.clientY - box.top) * SIZE) / box.height };
  }

  #begin(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen.shown = false;
    this.last = this.#at(event);
    this.#line(this.last, this.last);
    this.#inked();
  }

  #move(event) {
    if (!this.last) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) {
      const at = this.#at(each);
      this.#line(this.last, at);
      this.last = at;
    }
    this.#inked();
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Escape") {
      this.pen.down = false;
      this.clear();
    } else if (event.key === " ") {
      // A key that is held down repeats; count it only once.
      if (!event.repeat) this.pen.down = !this.pen.down;
    } else if (moves[event.key]) {
      const [x, y] = moves[event.key];
      const inside = (value) => Math.min(Math.max(value, PEN / 2), SIZE - PEN / 2);
      this.#penTo({ x: inside(this.pen.x + MOVE * x), y: inside(this.pen.y + MOVE * y) });
    } else {
      return;
    }
    event.preventDefault();
    this.pen.shown = true;
    if (this.pen.down) {
      this.#line(this.pen, this.pen);
      this.#inked();
    }
    this.#show();
  }

  #penTo(to) {
    if (this.pen.down) this.#line(this.pen, to);
    Object.assign(this.pen, to);
  }

  #line(from, to) {
    const { strokes } = this;
    strokes.strokeStyle = "#fff";
    strokes.lineWidth = PEN;
    strokes.lineCap = strokes.lineJoin = "round";
    strokes.beginPath();
    strokes.moveTo(from.x, from.y);
    strokes.lineTo(to.x, to.y + 0.01);
    strokes.stroke();
  }

  #show() {
    this.context.clearRect(0, 0, SIZE, SIZE);
    this.context.drawImage(this.strokes.canvas, 0, 0);
    if (!this.pen.shown || document.activeElement !== this.canvas) return;
    this.context.lineWidth = 3;
    this.context.strokeStyle = this.pen.down ? "#f0a060" : "#8ab4ff";
    this.context.beginPath();
    this.context.arc(this.pen.x, this.pen.y, PEN / 2 + 2, 0, 2 * Math.PI);
    this.context.stroke();
  }

  #inked() {
    this.#show();
    if (this.due) return;
    // Convert the drawing at most once per frame, because events may come faster than frames.
    this.due = requestAnimationFrame(() => {
      this.due = 0;
      const pixels = this.strokes.getImageData(0, 0, SIZE, SIZE).data;
      this.ink = new Uint8Array(SIZE * SIZE);
      for (let i = 0; i < SIZE * SIZE; i += 1) this.ink[i] = pixels[4 * i + 3];
      this.#prepare();
    });
  }

  /** Converts the current drawing to an image. Only one call runs at a time. */
  async #prepare() {
    if (this.preparing) return;
    this.preparing = true;
    try {
      let prepared = null;
      while (this.ink !== prepared) {
        prepared = this.ink;
        const { clearings } = this;
        const image = prepared && await this.asMnist(prepared, SIZE);
        if (!image || this.clearings !== clearings) continue;
        this.image = image;
        paint(this.seen, image);
        this.on.changed();
      }
    } catch (error) {
      this.on.failed(error);
    } finally {
      this.preparing = false;
    }
  }

  /** Whether the bars show the probabilities for the current drawing. */
  get isRead() {
    return !this.due && !this.preparing && !this.busy;
  }

  /**
   * Classifies the current drawing, if any. Only one request runs at a time. After a call during a request, another
   * request follows.
   */
  async update(session) {
    this.session = session;
    if (!this.image) return;
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      do {
        this.again = false;
        const probabilities = await this.session.classify(this.image);
        if (this.image) this.#read(probabilities);
      } while (this.again && this.image);
    } finally {
      this.busy = false;
    }
  }

  #read(probabilities) {
    const best = largest(probabilities);
    // If there are more classes than bars, show the most probable classes.
    const classes = [...probabilities.keys()];
    if (classes.length > this.rows.length) classes.sort((a, b) => probabilities[b] - probabilities[a]);
    this.rows.forEach((row, at) => {
      const digit = classes[at];
      row.dataset.digit = digit;
      row.firstChild.textContent = digit;
      const percent = `${Math.round(100 * probabilities[digit])}%`;
      this.#bar(row, probabilities[digit], percent, digit === best);
    });
    const text = probabilities[best] > 0.5 ? `The network reads a ${best}.` : `Perhaps a ${best}.`;
    // Change the text only if it differs, because screen readers read every change aloud.
    if (this.guess.textContent !== text) this.guess.textContent = text;
  }

  #bar(row, share, percent, isBest) {
    row.classList.toggle("best", isBest);
    row.querySelector(".fill").style.transform = `scaleX(${share})`;
    row.lastChild.textContent = percent;
    row.dataset.probability = share;
  }
}
