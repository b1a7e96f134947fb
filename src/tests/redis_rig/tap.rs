//! A tap on the way to a Redis: it lets through, holds back, or cuts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Everything passes.
    Open,
    /// Connections are taken and live, and nothing passes. Bytes sent meanwhile pass afterwards.
    Stalled,
    /// Connections are closed, and new ones are as soon as they come.
    Cut,
    /// It is all over.
    Gone,
}

struct Shared {
    flow: Mutex<Flow>,
    changed: Condvar,
    /// Both ends of what passes through.
    streams: Mutex<Vec<TcpStream>>,
    /// Bytes that were read and not yet passed on.
    held: AtomicUsize,
    server: SocketAddr,
}

/// See the module.
pub(crate) struct Tap {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Tap {
    /// An open tap before the server at this address.
    pub(crate) fn before(server: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            flow: Mutex::new(Flow::Open),
            changed: Condvar::new(),
            streams: Mutex::default(),
            held: AtomicUsize::new(0),
            server,
        });
        thread::spawn({
            let shared = shared.clone();
            move || shared.accept(&listener)
        });
        Tap { shared, address }
    }

    /// URL of the Redis behind it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From here on connections look healthy and nothing passes.
    pub(crate) fn stall(&self) {
        self.shared.set(Flow::Stalled);
    }

    /// Bytes that it holds back.
    pub(crate) fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Closes all connections, and every new one.
    pub(crate) fn cut(&self) {
        self.shared.set(Flow::Cut);
        self.sever();
    }

    /// Closes all connections. New ones pass.
    pub(crate) fn sever(&self) {
        self.shared.sever();
    }

    /// Lets through again, what was held back first.
    pub(crate) fn open(&self) {
        self.shared.set(Flow::Open);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.set(Flow::Gone);
        self.shared.sever();
        // Ends the wait for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn set(&self, flow: Flow) {
        *self.flow.lock() = flow;
        self.changed.notify_all();
    }

    fn sever(&self) {
        for stream in self.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            match *self.flow.lock() {
                Flow::Gone => return,
                Flow::Cut => continue,
                Flow::Open | Flow::Stalled => {}
            }
            // Without a server the client sees its connection end.
            let Ok(server) = TcpStream::connect(self.server) else { continue };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let mut streams = self.streams.lock();
            // A cut may have come meanwhile.
            if matches!(*self.flow.lock(), Flow::Cut | Flow::Gone) {
                continue;
            }
            for (from, to) in [(&client, &server), (&server, &client)] {
                streams.push(from.try_clone().unwrap());
                let (shared, from, to) = (self.clone(), from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || shared.pump(from, to));
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        // Not longer than this without a look at the flow.
        from.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut buffer = vec![0; 64 << 10];
        let mut held = 0;
        loop {
            let read = if held < buffer.len() { from.read(&mut buffer[held..]) } else { Ok(0) };
            let over = match read {
                Ok(n) => {
                    held += n;
                    self.held.fetch_add(n, Ordering::SeqCst);
                    n == 0
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
                Err(_) => {
                    // A reset overtakes what is on its way.
                    self.held.fetch_sub(std::mem::take(&mut held), Ordering::SeqCst);
                    true
                }
            };
            {
                let mut flow = self.flow.lock();
                // Nothing more is read: there is no room, or there was an end.
                while over && *flow == Flow::Stalled {
                    self.changed.wait(&mut flow);
                }
                if *flow == Flow::Stalled {
                    continue;
                }
            }
            self.held.fetch_sub(held, Ordering::SeqCst);
            let full = held == buffer.len();
            let over = over && !full;
            if to.write_all(&buffer[..std::mem::take(&mut held)]).is_err() || over {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
