import { readFileSync } from 'node:fs';

const MAGIC = 0x7f454c46;
const SYMBOL_TABLE = 2;

/**
 * True if an ELF file has a symbol table: the release profile strips it, the others keep it. So this tells a build that
 * is not for release, on Linux; of other systems' files nothing is known.
 */
export function hasSymbols(path) {
  const elf = readFileSync(path);
  if (elf.readUInt32BE(0) !== MAGIC) return false;
  const at = Number(elf.readBigUInt64LE(0x28));
  const [size, count] = [elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c)];
  return Array.from({ length: count }, (_, i) => elf.readUInt32LE(at + i * size + 4)).includes(SYMBOL_TABLE);
}
