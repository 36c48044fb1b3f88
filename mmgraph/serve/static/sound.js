// Sounds that the server can't read (from a microphone, from a telephone) become WAV files here.

const RATE_HZ = 16000;
const READABLE = /^(audio\/(x-)?(wav|wave|flac|ogg|mpeg)|application\/ogg)$/;

export async function readable(file) {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const magic = String.fromCharCode(...head);
  if (READABLE.test(file.type.split(";")[0]) || ["RIFF", "fLaC", "OggS"].includes(magic) || magic.startsWith("ID3")) return file;
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  return wav(await context.decodeAudioData(await file.arrayBuffer()));
}

function wav(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  const view = new DataView(new ArrayBuffer(44 + 2 * buffer.length));
  const write = (at, text) => Array.from(text, (letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF"); view.setUint32(4, 36 + 2 * buffer.length, true); write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, buffer.sampleRate, true); view.setUint32(28, 2 * buffer.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  write(36, "data"); view.setUint32(40, 2 * buffer.length, true);
  for (let i = 0; i < buffer.length; i++) {
    const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
    view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, mean)) * 32767, true);
  }
  return new Blob([view], { type: "audio/wav" });
}

// Gives a function that ends the recording; its sound goes to `ondone`.
export async function record(ondone) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    for (const track of stream.getTracks()) track.stop();
    ondone(new File(parts, "recording", { type: recorder.mimeType }));
  };
  recorder.start();
  const stop = () => recorder.state !== "inactive" && recorder.stop();
  setTimeout(stop, 30000);
  return stop;
}
