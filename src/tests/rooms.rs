//! The limit of a connection's rooms, and that many are no burden.

use std::sync::Arc;

use super::harness::{Server, config};
use crate::engine::config::Config;

fn name(n: usize) -> Arc<str> {
    format!("room {n}").into()
}

#[test]
fn a_connection_joins_no_more_rooms_than_its_limit_and_another_for_each_that_it_leaves() {
    let mut config = Config { ..config() };
    config.limits.rooms_per_connection = 40;
    let server = Server::start(config);
    let (ada, bob) = (server.connect(), server.connect());
    for n in 0..40 {
        assert_eq!(server.engine.join(ada.id(), &name(n)), Ok(()));
    }
    let refused = server.engine.join(ada.id(), &name(40)).unwrap_err();
    assert_eq!(refused.code(), "ERR_TOO_MANY_ROOMS");
    assert!(refused.message.contains("limits.roomsPerConnection (40)"), "{refused}");
    assert_eq!(server.engine.rooms_of(ada.id()).len(), 40);
    assert_eq!(server.engine.join(ada.id(), &name(7)), Ok(()), "it is in there already");
    assert_eq!(server.engine.join(bob.id(), &name(40)), Ok(()), "each has its own limit");
    server.engine.leave(ada.id(), &name(7));
    assert_eq!(server.engine.join(ada.id(), &name(40)), Ok(()));
    assert_eq!(server.engine.stats().rooms, 40);
    drop((ada, bob));
    server.expect_empty();
}
