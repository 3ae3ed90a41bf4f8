// Makes the pictures that a network learns. A picture has `width`, `height`, and bytes of red, green, blue and alpha.

const blank = (width, height) => new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });

function pixelsOf(context) {
  const { width, height } = context.canvas;
  return { width, height, rgba: new Uint8Array(context.getImageData(0, 0, width, height).data.buffer) };
}

/** Decodes the picture in a file, and scales it so that its longer side has at most `most` pixels. */
export async function decode(file, most) {
  const bitmap = await createImageBitmap(file).catch(() => {
    const message = `${file.name} is not a picture that this browser can read: choose a JPEG, PNG or WebP file.`;
    throw Object.assign(new Error(message), { name: "Picture" });
  });
  const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(scale * side)));
  const context = blank(width, height);
  // Fill with white, so that transparent parts of the picture become white.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return pixelsOf(context);
}

/**
 * Paints a sun over hills with fir trees, with `side`×`side` pixels. It has smooth gradients, hard edges and fine
 * detail.
 */
export function paint(side) {
  const context = blank(side, side);
  // Use coordinates from 0 to 1.
  context.scale(side, side);
  const sky = context.createLinearGradient(0, 0, 0, 0.75);
  for (const [at, colour] of [[0, "#3b5b9a"], [0.55, "#e8a27c"], [1, "#f7dfae"]]) sky.addColorStop(at, colour);
  context.fillStyle = sky;
  context.fillRect(0, 0, 1, 1);
  const glow = context.createRadialGradient(0.68, 0.3, 0.1, 0.68, 0.3, 0.5);
  for (const [at, colour] of [[0, "#fff3c8"], [0.08, "#ffdf9a80"], [1, "#ffdf9a00"]]) glow.addColorStop(at, colour);
  context.fillStyle = glow;
  context.fillRect(0, 0, 1, 1);
  const hills = [[0.55, 7, "#7d86a8"], [0.68, 11, "#4f6a70"], [0.82, 15, "#24423c"]];
  hills.forEach(([height, frequency, colour], layer) => {
    const ridge = (x) => height + 0.06 * Math.sin(frequency * x + 2 * layer) + 0.02 * Math.sin(3.7 * frequency * x);
    context.fillStyle = colour;
    context.beginPath();
    for (let x = 0; x <= 1; x += 1 / side) context.lineTo(x, ridge(x));
    context.lineTo(1, 1);
    context.lineTo(0, 1);
    context.fill();
    const tall = 0.012 * (layer + 1);
    for (let fir = 0; fir < 90; fir += 1) {
      // Multiples of the golden ratio modulo 1 are spread evenly, without a visible pattern.
      const [x, down] = [(0.618034 * (fir + 37 * layer)) % 1, (0.754878 * fir) % 0.22];
      const foot = ridge(x) + down;
      context.fillStyle = `rgb(${20 + 12 * (2 - layer)} ${44 + 90 * down} ${48 + 10 * (2 - layer)})`;
      context.beginPath();
      context.moveTo(x, foot - tall);
      context.lineTo(x + 0.35 * tall, foot);
      context.lineTo(x - 0.35 * tall, foot);
      context.fill();
    }
  });
  return pixelsOf(context);
}
