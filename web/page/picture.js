// What a network has learnt of a photo, drawn in slices. A slice has rows from all over the picture, so that all of it
// sharpens at once, and none takes long.

/** The number whose bits are those of `number`, below `count`, from the other end: of 0, 1, 2… it is 0, ½, ¼, ¾… of it. */
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
  }

  /** Begins with nothing learnt of this photo; `most` pixels make a slice. */
  begin(session, photo, most) {
    Object.assign(this, { session, photo });
    const { width, height } = photo;
    this.slices = 1;
    while (2 * this.slices <= height && width * height > most * this.slices) this.slices *= 2;
    this.drawn = 0;
    this.squares = Array(this.slices).fill(null);
    Object.assign(this.canvas, { width, height });
    this.image = this.canvas.getContext("2d").createImageData(width, height);
  }

  /** Draws the next slice, with the present weights. */
  async draw() {
    const { session, photo, slices, drawn } = this;
    const first = reversed(drawn % slices, slices);
    const { rgba, squares } = await session.paint(photo, first, slices);
    // Another training may have begun meanwhile.
    if (session !== this.session) return;
    // Where rows are not drawn yet, those before them stand for them.
    const rows = drawn === 0 ? slices : drawn < slices ? slices / 2 ** (Math.floor(Math.log2(drawn)) + 1) : 1;
    this.#take(rgba, first, rows);
    this.squares[first] = squares;
    this.drawn += 1;
  }

  /** Draws all of it with the present weights. */
  async drawAll() {
    const { session } = this;
    for (let slice = 0; slice < this.slices && session === this.session; slice += 1) await this.draw();
  }

  #take(rgba, first, rows) {
    const { image, slices } = this;
    const { width, height } = image;
    const bytes = 4 * width;
    for (let at = 0, row = first; row < height; at += bytes, row += slices) {
      const line = rgba.subarray(at, at + bytes);
      for (let copy = row; copy < Math.min(row + rows, height); copy += 1) image.data.set(line, copy * bytes);
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
  }

  /**
   * Peak signal-to-noise ratio of what is shown, in dB: 10·log₁₀(255² / mean squared error). Null while some of it is not
   * drawn yet.
   */
  get psnr() {
    if (!this.session || this.squares.includes(null)) return null;
    const sum = this.squares.reduce((a, b) => a + b, 0);
    const { width, height } = this.photo;
    return 10 * Math.log10((255 ** 2 * 3 * width * height) / sum);
  }
}
