// The first layer's weights: an image for each unit.

const SIDE = 28;
const GAP = 1;
const MOST = 60;

/** Of 8 to 15, that which leaves the fewest places of the last row empty. */
function columnsFor(count) {
  const candidates = [10, 12, 15, 8, 9, 11, 13, 14];
  const empty = (columns) => (columns - (count % columns)) % columns;
  return count < 8 ? count : candidates.reduce((best, each) => (empty(each) < empty(best) ? each : best));
}

export class WeightImages {
  constructor(canvas, summary) {
    Object.assign(this, { canvas, summary });
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
  }

  async update(session) {
    this.draw(await session.firstWeights());
  }

  draw(weights) {
    const units = weights.length / (SIDE * SIDE);
    const shown = Math.min(units, MOST);
    const columns = columnsFor(shown);
    const rows = Math.ceil(shown / columns);
    const [width, height] = [columns * (SIDE + GAP) - GAP, rows * (SIDE + GAP) - GAP];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const text = shown < units ? `${shown} of ${units} units` : `${units} units`;
    if (this.summary.textContent !== text) this.summary.textContent = text;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let unit = 0; unit < shown; unit += 1) {
      this.#unit(image, weights, unit, units, columns);
    }
    context.putImageData(image, 0, 0);
  }

  /** 0 is the colour of the ground, the largest weight of a unit its brightest. */
  #unit(image, weights, unit, units, columns) {
    const [ground, plus, minus] = this.dark.matches
      ? [[20, 22, 25], [255, 170, 90], [110, 170, 255]]
      : [[246, 245, 241], [176, 72, 8], [30, 90, 200]];
    let most = 1e-12;
    for (let i = unit; i < weights.length; i += units) most = Math.max(most, Math.abs(weights[i]));
    const left = (unit % columns) * (SIDE + GAP);
    const top = Math.floor(unit / columns) * (SIDE + GAP);
    for (let pixel = 0; pixel < SIDE * SIDE; pixel += 1) {
      const weight = weights[pixel * units + unit] / most;
      const [towards, share] = weight > 0 ? [plus, weight] : [minus, -weight];
      const at = 4 * ((top + Math.floor(pixel / SIDE)) * image.width + left + (pixel % SIDE));
      for (let c = 0; c < 3; c += 1) image.data[at + c] = ground[c] + share * (towards[c] - ground[c]);
      image.data[at + 3] = 255;
    }
  }
}
