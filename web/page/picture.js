// Draws what a network has learnt of a photo, in slices of rows, so that no slice takes long. At first, when the
// network knows little, two passes draw the picture from coarse to fine. Later passes draw it in bands: each step
// changes the shade of the whole picture a little, so adjacent rows of different steps would be visible as lines.

/** A slice of rows spread over the picture. Each row is copied to the rows below that are not yet drawn. */
function spread(turn, slices, height) {
  const first = reversed(turn, slices);
  const copies = turn === 0 ? slices : slices / 2 ** (Math.floor(Math.log2(turn)) + 1);
  return { first, every: slices, count: Math.ceil((height - first) / slices), copies };
}

function band(turn, slices, height) {
  const [first, end] = [turn, turn + 1].map((edge) => Math.floor((edge * height) / slices));
  return { first, every: 1, count: end - first, copies: 1 };
}

/** Reverses the bits of `number`, which is below `count`: 0, 1, 2, 3, … become 0, ½, ¼, ¾, … of `count`. */
function reversed(number, count) {
  let [rest, result] = [number, 0];
  for (let bit = 1; bit < count; bit *= 2) {
    result = 2 * result + (rest % 2);
    rest = Math.floor(rest / 2);
  }
  return result;
}

export class LearntPicture {
  constructor(canvas) {
    this.canvas = canvas;
    this.session = null;
    /** How often `stop` was called. */
    this.stops = 0;
  }

  /** Begins with an untrained network of this photo. A slice has at most about `most` pixels. */
  begin(session, photo, most) {
    this.stop();
    Object.assign(this, { session, photo });
    const { width, height } = photo;
    this.slices = 1;
    while (2 * this.slices <= height && width * height > most * this.slices) this.slices *= 2;
    this.drawn = 0;
    // For each row, the sum of its squared errors; null until the row is drawn.
    this.squares = Array(height).fill(null);
    Object.assign(this.canvas, { width, height });
    this.image = this.canvas.getContext("2d").createImageData(width, height);
  }

  /** Draws the next slice, with the current weights. */
  async draw() {
    const { session, photo, slices, drawn } = this;
    const { height } = photo;
    const slice = drawn < 2 * slices ? spread(drawn % slices, slices, height) : band(drawn % slices, slices, height);
    const rgba = await session.paint(photo, slice.first, slice.every, slice.count);
    // Another training may have begun meanwhile.
    if (session !== this.session) return;
    this.#take(rgba, slice);
    this.drawn += 1;
  }

  /** Draws the whole picture with the current weights, unless `stop` was called since `stops` was read. */
  async drawAll(stops) {
    if (stops !== this.stops) return;
    const { slices } = this;
    // Begins a new pass, so that all rows are drawn.
    this.drawn = slices * Math.ceil(this.drawn / slices);
    for (let slice = 0; slice < slices && stops === this.stops; slice += 1) await this.draw();
  }

  /** Cancels the rest of the picture, and requests that have not begun. */
  stop() {
    this.stops += 1;
  }

  #take(rgba, { first, every, copies }) {
    const { image } = this;
    const { width, height } = image;
    const bytes = 4 * width;
    for (let at = 0, row = first; at < rgba.length; at += bytes, row += every) {
      const line = rgba.subarray(at, at + bytes);
      for (let copy = row; copy < Math.min(row + copies, height); copy += 1) {
        image.data.set(line, copy * bytes);
        this.squares[copy] = this.#squares(line, copy * bytes);
      }
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
  }

  #squares(line, from) {
    const { rgba } = this.photo;
    let sum = 0;
    for (let i = 0; i < line.length; i += 4) {
      for (let c = i; c < i + 3; c += 1) sum += (line[c] - rgba[from + c]) ** 2;
    }
    return sum;
  }

  /**
   * Peak signal-to-noise ratio of the shown picture in dB: 10·log₁₀(255² / mean squared error). Null until all rows are
   * drawn.
   */
  get psnr() {
    if (!this.session || this.squares.includes(null)) return null;
    const sum = this.squares.reduce((a, b) => a + b, 0);
    const { width, height } = this.photo;
    return 10 * Math.log10((255 ** 2 * 3 * width * height) / sum);
  }
}
