// Shows test digits with the network's predictions.

const SIDE = 28;

/** Paints a grayscale image into a canvas of 28×28 pixels. */
export function paint(canvas, bytes) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i += 1) {
    image.data.fill(bytes[i], 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export class DigitGrid {
  constructor(box, summary) {
    Object.assign(this, { box, summary });
  }

  /** Shows the first test digits of this data set. */
  show({ images, labels }) {
    Object.assign(this, { images, labels });
    this.summary.textContent = "";
    this.figures = Array.from(this.labels, (label, index) => {
      const figure = document.createElement("div");
      figure.className = "digit";
      figure.dataset.label = label;
      figure.setAttribute("aria-hidden", "true");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = SIDE;
      paint(canvas, this.images.subarray(index * SIDE * SIDE, (index + 1) * SIDE * SIDE));
      const read = document.createElement("span");
      read.textContent = "·";
      figure.append(canvas, read);
      return figure;
    });
    this.box.replaceChildren(...this.figures);
  }

  async update(session) {
    const probabilities = await session.classify(this.images);
    const classes = probabilities.length / this.labels.length;
    let right = 0;
    this.figures.forEach((figure, index) => {
      const prediction = largest(probabilities.subarray(index * classes, (index + 1) * classes));
      const isRight = prediction === this.labels[index];
      right += isRight;
      if (figure.dataset.prediction === `${prediction}`) return;
      figure.dataset.prediction = prediction;
      figure.dataset.right = isRight;
      figure.lastChild.textContent = prediction;
    });
    const text = `${right} of ${this.labels.length} read right`;
    if (this.summary.textContent !== text) this.summary.textContent = text;
  }
}

/** Returns the index of the largest value. */
export const largest = (values) => values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
