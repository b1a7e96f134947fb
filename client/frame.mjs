import { failure } from './error.mjs';

const HEAD_BYTES = 2;

export function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export const sizeOf = (frame) =>
  typeof frame === 'string' ? new TextEncoder().encode(frame).length : frame.byteLength;

export function encode(message) {
  const bytes = bytesOf(message.data);
  if (bytes) {
    const head = new TextEncoder().encode(JSON.stringify({ ...message, data: undefined }));
    const frame = new Uint8Array(HEAD_BYTES + head.length + bytes.length);
    new DataView(frame.buffer).setUint16(0, head.length);
    frame.set(head, HEAD_BYTES);
    frame.set(bytes, HEAD_BYTES + head.length);
    return frame;
  }
  let cause;
  try {
    if (!('data' in message) || JSON.stringify(message.data) !== undefined) return JSON.stringify(message);
  } catch (error) {
    cause = error;
  }
  throw failure('ERR_NOT_SERIALIZABLE', 'data must be bytes or JSON', {
    cause,
  });
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
