// Draws the picture that a network has learned of a photo. It is drawn in slices of rows, so that no call takes long.
// The first two passes draw rows that are spread over the picture, from coarse to fine. Later passes draw bands of
// adjacent rows. Each training step changes the brightness of the whole picture a little. With bands, rows that were
// drawn after different steps are adjacent only at the edges of bands, where few lines are visible.

/**
 * Returns a slice of rows that are spread over the picture. Each row is copied to the rows below that are not drawn
 * yet.
 */
function spread(turn, slices, height) {
  const first = reversed(turn, slices);
  const copies = turn === 0 ? slices : slices / 2 ** (Math.floor(Math.log2(turn)) + 1);
  return { first, every: slices, count: Math.ceil((height - first) / slices), copies };
}

function band(turn, slices, height) {
  const [first, end] = [turn, turn + 1].map((edge) => Math.floor((edge * height) / slices));
  return { first, every: 1, count: end - first, copies: 1 };
}

/** Reverses the bits of `number`, which is below `count`. So 0, 1, 2, 3, … become 0, ½, ¼, ¾, … times `count`. */
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
    /** Number of calls of `stop`. */
    this.stops = 0;
  }

  /**
   * Starts a new picture for a session that has just begun to learn the photo. A slice has about `most` pixels at most.
   */
  begin(session, photo, most) {
    this.stop();
    Object.assign(this, { session, photo });
    const { width, height } = photo;
    this.slices = 1;
    while (2 * this.slices <= height && width * height > most * this.slices) this.slices *= 2;
    this.drawn = 0;
    // For each row, the sum of the squared errors of its pixels; null until the row is drawn.
    this.squares = Array(height).fill(null);
    Object.assign(this.canvas, { width, height });
    this.image = this.canvas.getContext("2d").createImageData(width, height);
  }

  /** Draws the next slice with the network's current weights. */
  async draw() {
    const { session, photo, slices, drawn } = this;
    const { height } = photo;
    const slice = drawn < 2 * slices ? spread(drawn % slices, slices, height) : band(drawn % slices, slices, height);
    const rgba = await session.paint(photo, slice.first, slice.every, slice.count);
    // Ignore the result if another training was started meanwhile.
    if (session !== this.session) return;
    this.#take(rgba, slice);
    this.drawn += 1;
  }

  /**
   * Draws the whole picture with the current weights. Ends early if `stop` was called since the caller read `stops`.
   */
  async drawAll(stops) {
    if (stops !== this.stops) return;
    const { slices } = this;
    // Start a new pass, so that all rows are drawn.
    this.drawn = slices * Math.ceil(this.drawn / slices);
    for (let slice = 0; slice < slices && stops === this.stops; slice += 1) await this.draw();
  }

  /** Cancels calls of `drawAll`: the rest of a running call, and calls that have not started yet. */
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
