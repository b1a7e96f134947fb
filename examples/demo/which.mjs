import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The full path of a command, or undefined. */
export function which(command) {
  // Debian has servers such as nginx in a folder that is on the path of root alone.
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']) {
    const path = join(folder, command);
    if (folder !== '' && existsSync(path)) return path;
  }
}
