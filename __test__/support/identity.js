'use strict';

/** A client says itself who it is, and where: `?user=ada&room=tea`. */
const byQuery = {
  authenticate({ url }) {
    const query = new URL(url, 'http://localhost').searchParams;
    return { userId: query.get('user'), rooms: query.getAll('room') };
  },
};

module.exports = { byQuery };
