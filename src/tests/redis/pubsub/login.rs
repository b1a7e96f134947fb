//! A login that may not do all that subscriptions want.

use super::*;

#[test]
fn a_channel_that_the_login_may_not_listen_on_is_refused_and_others_are_not() {
    let redis = RedisServer::with(&["user app on >secret ~* resetchannels &open:* +@all"]);
    // Some at once, before there is a link, and some while there is one.
    let subject = Subject::start(&redis.url().replace("//", "//app:secret@"));
    let all: Vec<_> = (0..20)
        .map(|n| {
            let name = if n % 7 == 3 { format!("shut:{n}") } else { format!("open:{n}") };
            (subject.core.subscribe(&name), name)
        })
        .collect();
    for (reply, name) in all {
        match subject.settled(reply) {
            Ok(Answer::Done) => assert!(name.starts_with("open")),
            Err(error) => {
                assert!(name.starts_with("shut"));
                assert_eq!(error.kind, Code::BrokerAuth);
                assert!(error.message.contains(&name), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    let (shut, open) = (subject.core.subscribe("shut:late"), subject.core.subscribe("open:late"));
    assert_eq!(subject.settled(shut).unwrap_err().kind, Code::BrokerAuth);
    assert_eq!(subject.settled(open), Ok(Answer::Done));
    assert_eq!((subject.core.status().state, subject.core.status().error), (State::Up, None));
    assert_eq!(redis.ask::<u64>(&["PUBLISH", "open:4", "1"]), 1);
    subject.expect("open:4", "1");
    // Whose login is mended asks again.
    redis.run(&["ACL", "SETUSER", "app", "&shut:late"]);
    subject.subscribe("shut:late");
}

#[test]
fn a_login_that_may_not_probe_itself_does_without() {
    let redis = RedisServer::with(&[
        "user app on >secret ~* resetchannels &open:* +@all",
        "user listener on >secret ~* resetchannels &open:* &probe:* +@all -publish",
        "user humble on >secret ~* resetchannels &open:* +@all -publish -role",
    ]);
    for login in ["app", "listener", "humble"] {
        let mut config = with_redis(&redis.url().replace("//", &format!("//{login}:secret@"))).redis;
        config.probe_interval = Duration::from_millis(100);
        let subject = Subject::with(config);
        subject.subscribe("open:news");
        assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done), "{login}");
        let shut = subject.core.subscribe("shut:news");
        assert_eq!(subject.settled(shut).unwrap_err().kind, Code::BrokerAuth, "{login}");
        let published = subject.publish("open:news", "1");
        match login {
            "app" => assert_eq!(published, Ok(1)),
            _ => assert_eq!(published.unwrap_err().kind, Code::BrokerAuth),
        }
        // It asks how the server is as often as others do, and nothing that it must not.
        let asked = || redis.ask::<String>(&["INFO", "commandstats"]);
        let rejected = |stats: &str, command: &str| {
            let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
            line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next()?.parse::<u64>().ok())
        };
        let before = asked();
        let role = |stats: &str| {
            let line = stats.lines().find(|line| line.starts_with("cmdstat_role:"));
            line.map(str::to_owned)
        };
        eventually("it to be asked again", || role(&asked()) != role(&before));
        assert_eq!(rejected(&asked(), "publish"), rejected(&before, "publish"), "{login}");
        // The end of the link is told of, and mended, as that of any other.
        redis.run(&["CLIENT", "KILL", "USER", login]);
        assert_eq!(subject.status(|status| status.gap.is_some()).state, State::Up, "{login}");
        assert_eq!(redis.ask::<u64>(&["PUBLISH", "open:news", "2"]), 1);
        if login == "app" {
            subject.expect("open:news", "1");
        }
        subject.expect("open:news", "2");
    }
}

#[test]
fn a_subscription_that_a_login_loses_is_told_of_and_others_live_on() {
    let redis = RedisServer::with(&["user app on >secret ~* resetchannels &probe:* &news &gossip +@all"]);
    let subject = Subject::start(&redis.url().replace("//", "//app:secret@"));
    ["news", "gossip"].iter().for_each(|channel| subject.subscribe(channel));
    redis.run(&["ACL", "SETUSER", "app", "resetchannels", "&probe:*", "&news"]);
    let told = subject.event_within(PATIENCE, |event| match event {
        Event::Forbidden { channel, error } => Some((channel.clone(), error.clone())),
        _ => None,
    });
    let (channel, error) = told.unwrap();
    assert_eq!((channel.as_str(), error.kind), ("gossip", Code::BrokerAuth));
    assert!(error.message.contains("gossip"), "{error:?}");
    assert_eq!(subject.status(|status| status.gap.is_some()).state, State::Up);
    assert_eq!(redis.ask::<u64>(&["PUBLISH", "news", "1"]), 1);
    subject.expect("news", "1");
}

#[test]
fn a_subscription_that_a_login_loses_is_told_of_also_when_somebody_asks_for_it_again() {
    let redis = RedisServer::with(&["user app on >secret ~* &* +@all"]);
    let tap = Tap::before(redis.address());
    let subject = Subject::start(&tap.url().replace("//", "//app:secret@"));
    subject.subscribe("news");
    tap.cut();
    subject.status(|status| status.state == State::Down);
    redis.run(&["ACL", "SETUSER", "app", "resetchannels", "&probe:*"]);
    let Ok(Reply::Later(again)) = subject.core.subscribe("news") else { panic!("answered at once") };
    tap.open();
    let (mut ended, mut refused) = (None, None);
    subject
        .event_within(PATIENCE, |event| {
            match event {
                Event::Settled { ticket, result } if *ticket == again => refused = result.clone().err(),
                Event::Forbidden { channel, error } => ended = Some((channel.clone(), error.kind)),
                _ => {}
            }
            (ended.is_some() && refused.is_some()).then_some(())
        })
        .expect("waited in vain for both to be told");
    assert_eq!(ended, Some(("news".to_owned(), Code::BrokerAuth)));
    assert_eq!(refused.unwrap().kind, Code::BrokerAuth);
}
