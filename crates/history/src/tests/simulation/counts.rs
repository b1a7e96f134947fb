use std::fmt;

use crate::meta::Reason;

macro_rules! counts {
    ($($name:ident: $text:literal,)+) => {
        /// Numbers of events.
        #[derive(Default)]
        pub(super) struct Counts {
            $(pub(super) $name: u64,)+
        }

        impl Counts {
            pub(super) fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)+
            }

            /// Things that did not happen.
            pub(super) fn never(&self) -> Vec<&'static str> {
                [$((self.$name, $text)),+].into_iter().filter(|(n, _)| *n == 0).map(|(_, text)| text).collect()
            }
        }

        impl fmt::Display for Counts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$(format!("{} {}", self.$name, $text)),+];
                f.write_str(&all.join(", "))
            }
        }
    };
}

counts! {
    runs: "runs",
    ops: "operations",
    messages: "messages",
    delivered: "handed on",
    dropped: "dropped",
    waited: "waited",
    plain: "without position",
    stray: "to a superseded master",
    unanswered: "unanswered",
    retried: "retries known to the store",
    repeated: "retries stored",
    cuts: "cuts",
    crashes: "crashes",
    lost: "lost on the way",
    promotions: "promotions",
    moves: "moves to another master",
    switched: "links to another master",
    whole: "restarts with all data",
    older: "restarts with older data",
    bare: "restarts without data",
    flushes: "flushes",
    expired: "topics forgotten",
    olds: "old servers",
    questions: "questions",
    repairs: "repairs",
    failover: "missed by failover",
    emptied: "emptied",
    trimmed: "trimmed",
    unreadable: "unreadable",
}

impl Counts {
    pub(super) fn missed(&mut self, reason: Reason) {
        *match reason {
            Reason::Failover => &mut self.failover,
            Reason::Emptied => &mut self.emptied,
            Reason::Trimmed => &mut self.trimmed,
            Reason::Unreadable => &mut self.unreadable,
        } += 1;
    }
}
