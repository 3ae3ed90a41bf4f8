// Draws the first layer's weights as images: one image per unit of a dense network, or per filter of a convolutional
// one.

/**
 * For each value of the setting `network`: what an image shows; the image's width and height in pixels; possible
 * numbers of columns of images, the preferred ones first; the index of a pixel's weight; and the colors of 0, of
 * positive and of negative weights, on light and on dark backgrounds.
 */
const LAYERS = {
  "two-layer": {
    unit: "unit",
    side: 28,
    columns: [10, 12, 15, 8, 9, 11, 13, 14],
    at: (pixel, unit, units) => pixel * units + unit,
    colours: {
      light: [[246, 245, 241], [176, 72, 8], [30, 90, 200]],
      dark: [[20, 22, 25], [255, 170, 90], [110, 170, 255]],
    },
  },
  "simple-conv": {
    unit: "filter",
    side: 5,
    columns: [15, 10, 12, 8, 9, 11, 13, 14],
    at: (pixel, filter) => 25 * filter + pixel,
    // Positive weights are white, because the ink is white in all images of the page.
    colours: {
      light: [[128, 128, 128], [255, 255, 255], [0, 0, 0]],
      dark: [[128, 128, 128], [255, 255, 255], [0, 0, 0]],
    },
  },
};
const GAP = 1;
const MOST = 60;

/** Returns the number of columns that leaves the fewest empty cells in the last row. */
function columnsFor(count, candidates) {
  const empty = (columns) => (columns - (count % columns)) % columns;
  return count < 8 ? count : candidates.reduce((best, each) => (empty(each) < empty(best) ? each : best));
}

export class WeightImages {
  constructor(canvas, summary) {
    Object.assign(this, { canvas, summary });
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
  }

  /** Draws the current weights of a training. */
  async update({ session, options }) {
    this.draw(await session.firstWeights(), LAYERS[options.network]);
  }

  draw(weights, layer) {
    const { side, unit: name } = layer;
    const units = weights.length / (side * side);
    const shown = Math.min(units, MOST);
    const columns = columnsFor(shown, layer.columns);
    const rows = Math.ceil(shown / columns);
    const [width, height] = [columns * (side + GAP) - GAP, rows * (side + GAP) - GAP];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const text = shown < units ? `${shown} of ${units} ${name}s` : `${units} ${name}s`;
    if (this.summary.textContent !== text) {
      this.summary.textContent = text;
      this.canvas.setAttribute("aria-label", `Weights of the first layer's ${name}s as images`);
    }
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let unit = 0; unit < shown; unit += 1) {
      const [left, top] = [(unit % columns) * (side + GAP), Math.floor(unit / columns) * (side + GAP)];
      const pixels = Array.from({ length: side * side }, (_, pixel) => weights[layer.at(pixel, unit, units)]);
      this.#paint(image, left, top, pixels, layer);
    }
    context.putImageData(image, 0, 0);
  }

  /** Draws one image. Colors are scaled so that its largest absolute weight has the full color. */
  #paint(image, left, top, weights, { side, colours }) {
    const [ground, plus, minus] = this.dark.matches ? colours.dark : colours.light;
    const most = weights.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 1e-12);
    weights.forEach((each, pixel) => {
      const weight = each / most;
      const [towards, share] = weight > 0 ? [plus, weight] : [minus, -weight];
      const at = 4 * ((top + Math.floor(pixel / side)) * image.width + left + (pixel % side));
      for (let c = 0; c < 3; c += 1) image.data[at + c] = ground[c] + share * (towards[c] - ground[c]);
      image.data[at + 3] = 255;
    });
  }
}
