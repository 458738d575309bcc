// The last 30 seconds: each picture as it came, with what was drawn on it.

const KEPT_S = 30;
const MOST_BYTES = 256e6;

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.entries = [];
    this.bytes = 0;
  }

  // scene: what `drawScene` takes, jpeg: ArrayBuffer
  add(scene, jpeg) {
    const last = this.entries.at(-1);
    if (last && scene.time_s < last.scene.time_s - 1) this.clear(); // another stream
    this.entries.push({ scene, jpeg });
    this.bytes += jpeg.byteLength;
    while (this.entries.length > 1 && (this.entries[0].scene.time_s < scene.time_s - KEPT_S || this.bytes > MOST_BYTES)) {
      this.bytes -= this.entries.shift().jpeg.byteLength;
    }
  }
}
