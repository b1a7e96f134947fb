//! Random streams of frames, valid and broken, cut at random places.

use super::differential::{MAX, compare};
use crate::frame;

/// Streams of `npm test`. `STREAMS` in the environment is another number, and `SEED` where they begin.
const STREAMS: u64 = 20_000;

/// A small generator of numbers (xorshift64*), so that a stream is known by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Text that is mostly valid, and often cut inside a character.
fn text(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend(random.of(&["a", "é", "€", "𝄞", "plain text"]).as_bytes());
    }
    bytes.truncate(len);
    if random.one_in(40) && len > 0 {
        let at = random.below(len as u64) as usize;
        bytes[at] = random.next() as u8;
    }
    bytes
}

/// A frame, mostly one that may come. `begun`: inside a fragmented message, and whether it is text.
fn frame(random: &mut Random, begun: &mut Option<bool>, carry: &mut Vec<u8>) -> Vec<u8> {
    let opcode: u8 = match (random.below(10), *begun) {
        (0 | 1, _) => random.of(&[9, 9, 10]),
        (2, _) if random.one_in(6) => 8,
        (3, _) if random.one_in(12) => random.of(&[3, 7, 11, 15, 0, 1, 2]),
        (_, Some(_)) => 0,
        (_, None) => random.of(&[1, 1, 2]),
    };
    let is_final = !random.one_in(if opcode < 8 { 2 } else { 200 });
    let len = match random.below(12) {
        0 if opcode >= 8 && random.one_in(20) => 126,
        0 => 125.min(MAX),
        1 if opcode < 8 => 126 + random.below(60) as usize,
        2 if opcode < 8 && random.one_in(8) => MAX + random.below(3) as usize,
        3 => 0,
        _ => random.below(40) as usize,
    };
    let is_text = opcode == 1 || (opcode == 0 && *begun == Some(true));
    let payload = if opcode == 8 {
        let code: u16 = random.of(&[1000, 1001, 1004, 1005, 1011, 1014, 1015, 2999, 3000, 4999, 5000, 0]);
        let mut close = [code.to_be_bytes().to_vec(), text(random, len.min(60))].concat();
        // Whole characters, mostly.
        while std::str::from_utf8(&close[2..]).is_err() && !random.one_in(10) {
            close.pop();
        }
        close.truncate(random.of(&[125, 125, 125, 2, 1, 0]));
        close
    } else if is_text {
        // A character that the last fragment cut goes on here, and a final one is mostly whole.
        let mut bytes = std::mem::take(carry);
        bytes.extend(text(random, len.saturating_sub(bytes.len())));
        if is_final {
            while std::str::from_utf8(&bytes).is_err() && !random.one_in(20) && !bytes.is_empty() {
                bytes.pop();
            }
        } else if let Some(at) = bytes.len().checked_sub(2)
            && let Err(error) = std::str::from_utf8(&bytes[at..])
            && error.error_len().is_none()
        {
            *carry = "𝄞€é"
                .bytes()
                .skip_while(|byte| Some(byte) != bytes.get(at + error.valid_up_to()))
                .skip(bytes.len() - at - error.valid_up_to())
                .take_while(|byte| byte & 0xC0 == 0x80)
                .collect();
        }
        bytes
    } else {
        (0..len).map(|_| random.next() as u8).collect()
    };
    if opcode < 3 {
        *begun = (!is_final).then_some(is_text);
    }
    let mut first = opcode | if is_final { 0x80 } else { 0 };
    if random.one_in(150) {
        first |= random.of(&[0x10, 0x20, 0x40]);
    }
    encode(random, first, payload)
}

fn encode(random: &mut Random, first: u8, mut payload: Vec<u8>) -> Vec<u8> {
    let masked = if random.one_in(200) { 0 } else { 0x80 };
    let mut bytes = vec![first];
    match payload.len() {
        // Longer than need be, now and then.
        len if first & 0x08 == 0 && random.one_in(50) => {
            bytes.extend([&[masked | 127][..], &(len as u64).to_be_bytes()].concat())
        }
        len @ 0..=125 => bytes.push(masked | len as u8),
        len => bytes.extend([&[masked | 126][..], &(len as u16).to_be_bytes()].concat()),
    }
    if masked != 0 {
        let mask = (random.next() as u32).to_ne_bytes();
        bytes.extend(mask);
        frame::unmask(&mut payload, mask);
    }
    bytes.extend(payload);
    bytes
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn streams_mean_what_they_mean_to_tungstenite_wherever_they_are_cut() {
    let (first, streams) = (number_of("SEED").unwrap_or(1), number_of("STREAMS").unwrap_or(STREAMS));
    let (mut frames, mut broken, mut closed, mut stricter, mut heard) = (0, 0, 0, 0, 0);
    for seed in first..first + streams {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut begun, mut carry, mut stream) = (None, Vec::new(), Vec::new());
        let count = 1 + random.below(12);
        for _ in 0..count {
            stream.extend(frame(&mut random, &mut begun, &mut carry));
        }
        if random.one_in(4) {
            stream.truncate(random.below(stream.len() as u64) as usize);
        }
        let mut reads = Vec::new();
        let mut rest = &stream[..];
        let longest = random.of(&[1, 3, 20, 200, 10_000]);
        while !rest.is_empty() {
            let (read, left) = rest.split_at(rest.len().min(1 + random.below(longest) as usize));
            reads.push(read);
            rest = left;
        }
        let said = compare(&reads, &format_args!("SEED={seed} STREAMS=1"));
        frames += count;
        heard += said.heard as u64;
        broken += u64::from(said.is_broken);
        closed += u64::from(said.is_closed);
        stricter += u64::from(said.is_stricter);
    }
    println!(
        "seeds {first} to {}: {streams} streams of {frames} frames; {heard} messages and control frames heard, {broken} streams \
         broken, {closed} closed, {stricter} times stricter",
        first + streams - 1
    );
    // The streams are not all of one kind.
    if streams >= STREAMS {
        let enough = streams / 50;
        assert!(broken > enough && closed > enough && stricter > 10 && heard > streams);
    }
}
