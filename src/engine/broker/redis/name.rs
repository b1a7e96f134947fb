//! A server's name, and the way to one of its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::config::Address;

/// How long an address has before the next one is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// Longest wait for a name that is compared.
const PATIENCE: Duration = Duration::from_millis(250);

/// Looks a server's name up, on a thread of its own: nothing can interrupt that. It is none of tokio's, which panics where the
/// system gives none.
pub async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let host = host.to_owned();
    let (sender, found) = oneshot::channel();
    thread::Builder::new().name("actory-ws-name".into()).spawn(move || {
        drop(sender.send((host, port).to_socket_addrs().map(Iterator::collect)));
    })?;
    found.await.map_err(io::Error::other)?
}

/// Connects to one of these addresses: the first that answers. Each is tried when the one before has failed, or has said
/// nothing for a while (RFC 8305, section 5): a dead one must not use up the time of the others.
///
/// # Errors
/// What became of the one that was tried last.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut trouble = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut addresses = in_turn(addresses).into_iter();
    let mut tried = JoinSet::new();
    loop {
        let patience = match addresses.next() {
            Some(address) => {
                tried.spawn(TcpStream::connect(address));
                STAGGER
            }
            None if tried.is_empty() => return Err(trouble),
            None => Duration::MAX,
        };
        match tokio::time::timeout(patience, tried.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => trouble = error,
            _ => {}
        }
    }
}

/// The addresses so that both families take turns, beginning with that of the first one (RFC 8305, section 4).
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut these, mut others) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv6() == first.is_ipv6() { &mut these } else { &mut others }.push(*address);
    }
    let rounds = these.len().max(others.len());
    (0..rounds).flat_map(|at| these.get(at).into_iter().chain(others.get(at))).copied().collect()
}

/// Whether two addresses are those of one server: a name, and what it stands for.
pub async fn are_one(one: &Address, other: &Address) -> bool {
    let (Address::Tcp(one, port, _), Address::Tcp(other, other_port, _)) = (one, other) else {
        return one == other;
    };
    if one == other || port != other_port {
        return one == other && port == other_port;
    }
    let both = async { tokio::try_join!(look_up(one, *port), look_up(other, *port)) };
    match tokio::time::timeout(PATIENCE, both).await {
        Ok(Ok((these, those))) => these.iter().any(|address| those.contains(address)),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Connects as a link does, on a runtime of its own.
    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// An address that answers nothing, as one whose host is gone: its queue is full, so Linux drops whoever comes.
    struct Dead {
        address: SocketAddr,
        _sockets: Vec<Socket>,
    }

    impl Dead {
        fn at(host: &str) -> Dead {
            let socket = |address: &SocketAddr| {
                Socket::new(Domain::for_address(*address), Type::STREAM, None).unwrap()
            };
            let any = SocketAddr::new(host.parse().unwrap(), 0);
            let listener = socket(&any);
            listener.bind(&any.into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let mut sockets = vec![listener];
            // As many as it takes in, and a few that it does not.
            for _ in 0..4 {
                let client = socket(&address);
                client.set_nonblocking(true).unwrap();
                drop(client.connect(&address.into()));
                sockets.push(client);
            }
            Dead { address, _sockets: sockets }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_is_dead_does_not_use_up_the_time_of_the_next() {
        run(async {
            let dead = Dead::at("127.0.0.1");
            let living = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let begin = Instant::now();
            let stream = connect(&[dead.address, living.local_addr().unwrap()]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), living.local_addr().unwrap());
            assert!(begin.elapsed() >= STAGGER, "{:?}", begin.elapsed());
            assert!(begin.elapsed() < 4 * STAGGER, "{:?}", begin.elapsed());
        });
    }

    #[test]
    fn an_address_that_refuses_is_passed_over_at_once_and_named_when_all_do() {
        run(async {
            let (gone, living) = (free().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
            let begin = Instant::now();
            connect(&[gone, gone, living.local_addr().unwrap()]).await.unwrap();
            assert!(begin.elapsed() < STAGGER, "{:?}", begin.elapsed());
            let refused = connect(&[gone, gone]).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(connect(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        });
    }

    async fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let all =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(in_turn(&given), all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
    }

    #[test]
    fn a_name_and_its_address_are_one_and_other_ports_and_hosts_are_not() {
        let at = |host: &str, port| Address::Tcp(host.to_owned(), port, false);
        run(async {
            assert!(are_one(&at("localhost", 7), &at("127.0.0.1", 7)).await);
            assert!(are_one(&at("127.0.0.1", 7), &at("127.0.0.1", 7)).await);
            assert!(!are_one(&at("localhost", 7), &at("127.0.0.1", 8)).await);
            assert!(!are_one(&at("localhost", 7), &at("127.0.0.2", 7)).await);
            assert!(!are_one(&at("no-such-host.invalid", 7), &at("127.0.0.1", 7)).await);
        });
    }
}
