// A photo as a network learns it.

/** The pixels of the picture in a file, scaled so that its longer side has at most `most` of them. */
export async function decode(file, most) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw Object.assign(new Error(`${file.name} is no picture that this browser can read.`), { name: "Picture" });
  });
  const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(scale * side)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  // What a picture leaves transparent is white.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { width, rgba: new Uint8Array(data.buffer) };
}
