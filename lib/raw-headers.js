'use strict';

/**
 * The elements of a comma-separated header over all its lines, without the white space around them. Empty ones mean nothing (RFC 9110,
 * sections 5.6.1.2 and 5.6.3). Node makes `headers` when it is first asked for, which costs more than all else that is done here.
 *
 * @param {string[]} rawHeaders - of the request
 * @param {string} name - in lower case
 */
function listOf(rawHeaders, name) {
  const elements = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length !== name.length || rawHeaders[i].toLowerCase() !== name) continue;
    for (const element of rawHeaders[i + 1].split(',')) {
      const trimmed = element.replace(/^[ \t]+|[ \t]+$/g, '');
      if (trimmed !== '') elements.push(trimmed);
    }
  }
  return elements;
}

module.exports = { listOf };
