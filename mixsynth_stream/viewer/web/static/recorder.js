// Recorder: what the page shows, as a WebM file that the browser saves.

export class Recorder {
  constructor(canvas) {
    this.canvas = canvas;
    this.recorder = null;
  }

  get isOn() {
    return this.recorder !== null;
  }

  start() {
    const kind = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"].find((type) => MediaRecorder.isTypeSupported(type));
    const parts = [];
    this.recorder = new MediaRecorder(this.canvas.captureStream(), kind ? { mimeType: kind } : {});
    this.recorder.ondataavailable = ({ data }) => parts.push(data);
    this.recorder.onstop = () => this.save(new Blob(parts, { type: kind }));
    this.recorder.start(1000);
  }

  stop() {
    this.recorder.stop();
    this.recorder = null;
  }

  save(blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `mixsynth-stream-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${blob.type.includes("mp4") ? "mp4" : "webm"}`;
    link.click();
    document.body.dataset.recorded = blob.size;
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
