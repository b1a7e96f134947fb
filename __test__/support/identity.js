'use strict';

/** Who a client is, and where, it says itself: `?user=ada&room=tea`. */
const byQuery = {
  authenticate({ url }) {
    const query = new URL(url, 'http://localhost').searchParams;
    return { userId: query.get('user'), rooms: query.getAll('room') };
  },
};

module.exports = { byQuery };
