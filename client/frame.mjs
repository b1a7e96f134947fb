import { failure } from './error.mjs';

const HEAD_BYTES = 2;

export function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export const sizeOf = (frame) =>
  typeof frame === 'string' ? new TextEncoder().encode(frame).length : frame.byteLength;

export function encode(message, data) {
  const bytes = bytesOf(data);
  if (bytes) {
    const head = new TextEncoder().encode(JSON.stringify(message));
    const frame = new Uint8Array(HEAD_BYTES + head.length + bytes.length);
    new DataView(frame.buffer).setUint16(0, head.length);
    frame.set(head, HEAD_BYTES);
    frame.set(bytes, HEAD_BYTES + head.length);
    return frame;
  }
  let text;
  let cause;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    cause = error;
  }
  if (text === undefined) {
    throw failure(
      'ERR_NOT_SERIALIZABLE',
      'data has to be bytes, or a value that JSON.stringify has a text for',
      { cause },
    );
  }
  return JSON.stringify({ ...message, data });
}

// `undefined` for a frame that is no message.
export function decode(frame) {
  try {
    const isText = typeof frame === 'string';
    let head = frame;
    let data;
    if (!isText) {
      const end = HEAD_BYTES + new DataView(frame).getUint16(0);
      if (end > frame.byteLength) return;
      head = new TextDecoder('utf-8', { fatal: true }).decode(
        new Uint8Array(frame, HEAD_BYTES, end - HEAD_BYTES),
      );
      data = new Uint8Array(frame, end);
    }
    const message = JSON.parse(head);
    if (typeof message.type !== 'string') return;
    return isText ? message : { ...message, data };
  } catch {
    // Not JSON, not UTF-8, `null`, or shorter than a head.
  }
}
