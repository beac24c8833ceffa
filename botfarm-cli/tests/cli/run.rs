//! `botfarm run -- cmd`.

use std::time::{Duration, SystemTime};

use crate::service::{PATIENCE, PROJECT, Running, Service, finish, runs};
use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// Says which signals it gets, and ends with 9 when its stdin ends.
const LISTENER: &str = "
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, lambda number, _: os.write(1, signal.Signals(number).name.encode() + b'\\n'))
os.write(1, b'ready\\n')
for line in sys.stdin:
    pass
sys.exit(9)
";

/// Ignores what it can, has a child that does so too, and prints both process ids.
const STUBBORN: &str = "
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
while True:
    time.sleep(60)
";

const FREE: fn(&Value) -> bool = |bot| bot["lease"].is_null();

#[tokio::test]
async fn what_follows_the_dashes_is_argv_and_no_shell_sees_it() {
    let service = Service::with(&[("qa-1", "")]).await;
    let output = service.output(&["run", "--", "printf", "<%s>", "a b", "$HOME", "*", "--env", "'q'"]).await;
    assert_eq!(output, "<a b><$HOME><*><--env><'q'>");
}

#[tokio::test]
async fn stdin_stdout_and_stderr_are_the_command_s() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "sh", "-c", "cat; echo oops >&2"]));
    run.write("one\ntwo\n").await;
    assert_eq!(run.end().await, (0, "one\ntwo\n".to_owned(), "oops\n".to_owned()));
}

#[tokio::test]
async fn the_command_finds_its_account_in_its_environment_and_no_secret_of_botfarm_s() {
    let service = Service::with(&[("qa-1", "role=admin;2fa-app=yes"), ("qa-2", "role=member")]).await;
    let mut command = service.botfarm(&[
        "run",
        "--env=stage",
        "--domain=canary",
        "--project",
        PROJECT,
        "--label",
        "role=admin",
        "--map",
        "LOGIN=CYPRESS_USERNAME",
        "--map",
        "LABEL_ROLE=E2E_ROLE",
        "--",
        "env",
    ]);
    for secret in [
        "BOTFARM_TOKEN",
        "BOTFARM_KEY",
        "BOTFARM_KEY_FILE",
        "BOTFARM_OLD_KEYS",
        "BOTFARM_ADMIN_PASSWORD",
        "BOTFARM_USER_STALE",
    ] {
        command.env(secret, "bf_x");
    }
    let (code, stdout, stderr) = finish(command).await;
    assert_eq!(code, 0, "{stderr}");
    let mut found: Vec<_> = stdout.lines().filter(|line| !line.starts_with("PATH=")).collect();
    found.sort_unstable();
    let id = format!("BOTFARM_USER_ID={}", service.bot("qa-1").await["id"].as_str().unwrap());
    let project = format!("BOTFARM_USER_PROJECT_ID={PROJECT}");
    let url = format!("BOTFARM_URL={}", service.url);
    let lease = found.iter().position(|line| line.starts_with("BOTFARM_LEASE_ID=")).unwrap();
    assert_eq!(found.remove(lease).len(), "BOTFARM_LEASE_ID=".len() + 36);
    assert_eq!(
        found,
        [
            url.as_str(),
            "BOTFARM_USER_DOMAIN=canary",
            "BOTFARM_USER_ENV=stage",
            &id,
            "BOTFARM_USER_LABEL_2FA_APP=yes",
            "BOTFARM_USER_LABEL_ROLE=admin",
            "BOTFARM_USER_LOGIN=qa-1",
            "BOTFARM_USER_PASSWORD=s3cret of qa-1",
            &project,
            "CYPRESS_USERNAME=qa-1",
            "E2E_ROLE=admin",
        ]
    );
}

#[tokio::test]
async fn several_users_are_leased_all_or_none() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "role=member")]).await;
    let both = ["run", "--env=stage", "--user", "admin:role=admin", "--user", "member:role=member", "--map"];
    let shown = "echo $BOTFARM_USER_ADMIN_LOGIN $BOTFARM_USER_MEMBER_PASSWORD $BOSS ${BOTFARM_USER_LOGIN-none}; cat";
    let mut run =
        Running::start(service.botfarm(&[&both[..], &["ADMIN_LOGIN=BOSS", "--", "sh", "-c", shown]].concat()));
    assert_eq!(run.line().await.unwrap(), "qa-1 s3cret of qa-2 qa-1 none");
    assert_eq!(service.json(&["leases"]).await.as_array().unwrap().len(), 1);
    assert_eq!(run.end().await.0, 0);

    let member = Running::start(service.botfarm(&["run", "--label", "role=member", "--", "cat"]));
    service.until_bot("qa-2", |bot| !FREE(bot)).await;
    let (code, _, said) = finish(service.botfarm(&[&both[..], &["ADMIN_LOGIN=BOSS", "--", "true"]].concat())).await;
    assert_eq!(code, 124, "{said}");
    assert!(FREE(&service.bot("qa-1").await), "nothing is held of a lease that was not granted");
    member.end().await;
}

#[tokio::test]
async fn the_account_is_free_the_moment_the_command_ends() {
    let service = Service::with(&[("qa-1", "")]).await;
    for _ in 0..5 {
        // Without waiting: each finds the account that the one before gave back.
        assert_eq!(service.output(&["run", "--wait=0s", "--", "sh", "-c", "echo $BOTFARM_USER_LOGIN"]).await, "qa-1\n");
    }
    assert_eq!(service.json(&["history", "qa-1"]).await.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn the_exit_code_is_the_command_s_own() {
    let service = Service::with(&[("qa-1", "")]).await;
    for (script, expected) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill $$", 143)]
    {
        let (code, _, said) = finish(service.botfarm(&["run", "--", "sh", "-c", script])).await;
        assert_eq!((code, said.as_str()), (expected, ""), "{script}");
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_is_127_and_one_that_does_not_run_is_126() {
    let service = Service::with(&[("qa-1", "")]).await;
    service.file("plain.txt", "no program");
    let code = |command: &'static str| {
        let command = service.botfarm(&["run", "--", command]);
        async { finish(command).await.0 }
    };
    assert_eq!(code("no-such-command").await, 127);
    assert_eq!(code("./no-such-command").await, 127);
    assert_eq!(code("./plain.txt").await, 126);
    assert_eq!(code("/").await, 126);
    assert_eq!(service.json(&["history", "qa-1"]).await, serde_json::json!([]), "nobody took an account for them");
}

#[tokio::test]
async fn a_file_that_cannot_be_executed_gives_the_account_back() {
    let service = Service::with(&[("qa-1", "")]).await;
    // Executable, but by an interpreter that is not there: only the attempt can tell.
    service.file("script", "#!/no/such/interpreter\n");
    let (code, ..) = finish(service.botfarm(&["run", "--", "sh", "-c", "chmod +x script"])).await;
    assert_eq!(code, 0);
    let (code, _, said) = finish(service.botfarm(&["run", "--", "./script"])).await;
    assert_eq!(code, 127, "{said}");
    assert!(FREE(&service.bot("qa-1").await));
}

#[tokio::test]
async fn botfarm_s_own_failures_are_125() {
    let service = Service::with(&[("qa-1", "role=admin")]).await;
    for (arguments, why) in [
        (&["run", "--env", "prod", "--", "true"][..], "env=prod"),
        (&["run", "--label", "role=boss", "--wait=10m", "--", "true"], "role=boss"),
        (&["run", "--no-such-flag", "--", "true"], "--no-such-flag"),
        (&["run", "--env", "the moon", "--", "true"], "must be a name"),
        (&["run"], "CMD"),
        (&["run", "--map", "PASSWORT=X", "--", "true"], "there is no such field; there are LOGIN, PASSWORD"),
        (&["run", "--map", "LABEL_PLAN=X", "--", "true"], "the bot has no such label"),
        (&["run", "--user", "a-b", "--user", "A_B", "--", "true"], "BOTFARM_USER_A_B_"),
        (&["run", "--ttl", "1s", "--", "true"], "ttl"),
        (&["run", "--farm", "memory:", "--", "true"], "botfarm serve"),
        (&["run", "--farm", "http://127.0.0.1:1", "--", "true"], "cannot be reached"),
        (&["run", "--config", "none.toml", "--", "true"], "none.toml"),
    ] {
        let (code, stdout, said) = finish(service.botfarm(arguments)).await;
        assert_eq!((code, stdout.as_str()), (125, ""), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    assert!(FREE(&service.bot("qa-1").await));
    assert_eq!(finish(service.botfarm(&["run", "--help"])).await.0, 0);
}

#[tokio::test]
async fn without_a_wait_it_says_at_once_who_holds_the_account() {
    let service = Service::with(&[("qa-1", "")]).await;
    let holder = Running::start(service.botfarm(&["run", "--holder", "nightly checkout", "--", "cat"]));
    service.until_bot("qa-1", |bot| !FREE(bot)).await;
    let start = Instant::now();
    let (code, _, said) = finish(service.botfarm(&["run", "--", "true"])).await;
    assert_eq!(code, 124);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(said.contains("nightly checkout") && said.contains("--wait 5m"), "{said}");
    holder.end().await;
}

#[tokio::test]
async fn while_it_waits_it_says_every_ten_seconds_who_holds_what() {
    let service = Service::with(&[("qa-1", "")]).await;
    let url = "https://ci.example/jobs/7";
    let holder = ["run", "--holder", "nightly checkout", "--job-url", url, "--", "cat"];
    let holder = Running::start(service.botfarm(&holder));
    service.until_bot("qa-1", |bot| !FREE(bot)).await;
    let start = Instant::now();
    let (code, _, said) = finish(service.botfarm(&["run", "--env=stage", "--wait=12s", "--", "true"])).await;
    assert_eq!(code, 124, "{said}");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(12) && waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(said.matches("waiting for env=stage, ").count(), 2, "{said}");
    assert_eq!(said.matches("qa-1 is held by nightly checkout, taken ").count(), 2, "{said}");
    assert!(said.contains(url), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    holder.end().await;
}

#[tokio::test]
async fn on_ci_it_waits_and_keeps_its_place_in_the_queue() {
    let service = Service::with(&[("qa-1", "")]).await;
    let holder = Running::start(service.botfarm(&["run", "--", "cat"]));
    service.until_bot("qa-1", |bot| !FREE(bot)).await;
    let waiter = || {
        let mut command = service.botfarm(&["run", "--", "sh", "-c", "echo mine; cat"]);
        command.env("CI", "true");
        Running::start(command)
    };
    let mut first = waiter();
    // It has asked a second time by then.
    first.until_said("waiting for any bot", 1).await;
    let mut second = waiter();
    second.until_said("waiting for any bot", 1).await;
    holder.end().await;
    first.until_line("mine").await;
    assert!(timeout(Duration::from_millis(500), second.line()).await.is_err(), "the second has to wait for the first");
    assert_eq!(first.end().await.0, 0);
    second.until_line("mine").await;
    assert_eq!(second.end().await.0, 0);
}

#[tokio::test]
async fn a_signal_ends_the_wait_and_leaves_the_queue() {
    let service = Service::with(&[("qa-1", "")]).await;
    let holder = Running::start(service.botfarm(&["run", "--", "cat"]));
    service.until_bot("qa-1", |bot| !FREE(bot)).await;
    for (signal, expected) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut waiter = Running::start(service.botfarm(&["run", "--wait=10m", "--", "true"]));
        waiter.until_said("waiting for any bot", 1).await;
        waiter.signal(signal);
        let start = Instant::now();
        let (code, _, said) = waiter.end().await;
        assert_eq!(code, expected, "{said}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let (_, _, said) = finish(service.botfarm(&["run", "--", "true"])).await;
        assert!(said.contains("0 requests waiting"), "{said}");
    }
    holder.end().await;
    assert_eq!(service.output(&["run", "--", "echo", "free"]).await, "free\n");
}

#[tokio::test]
async fn a_signal_ends_a_start_that_hangs() {
    let service = Service::with(&[]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/none?sslmode=disable", silent.local_addr().unwrap());
    let mut command = service.botfarm(&["run", "--", "true"]);
    command.env("BOTFARM_URL", url).env("BOTFARM_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let run = Running::start(command);
    let _connection = timeout(PATIENCE, silent.accept()).await.expect("it connects").unwrap();
    run.signal(Signal::INT);
    let start = Instant::now();
    let (code, _, said) = run.end().await;
    assert_eq!(code, 130, "{said}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_farm_that_is_down_for_a_moment_is_waited_for_but_not_for_ever() {
    let service = Service::with(&[("qa-1", "")]).await;
    // An address that nobody listens on, until later.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let arguments =
        |wait| service.botfarm(&["run", "--farm", &url, wait, "--", "sh", "-c", "echo $BOTFARM_USER_LOGIN"]);
    let (code, _, said) = finish(arguments("--wait=2s")).await;
    assert_eq!(code, 125);
    assert_eq!(said.matches("botfarm: waiting, ").count(), 1, "it says so once in ten seconds: {said}");
    let mut run = Running::start(arguments("--wait=30s"));
    run.until_said("cannot be reached", 1).await;
    let _relay = relay(TcpListener::bind(address).await.unwrap(), &service.url);
    run.until_line("qa-1").await;
    assert_eq!(run.end().await.0, 0);
}

#[tokio::test]
async fn without_a_terminal_each_signal_reaches_the_command_once() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "python3", "-c", LISTENER]));
    run.until_line("ready").await;
    for (signal, name) in
        [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP"), (Signal::QUIT, "SIGQUIT")]
    {
        run.signal(signal);
        assert_eq!(run.line().await.unwrap(), name);
    }
    assert_eq!(run.end().await, (9, String::new(), String::new()));
    assert!(FREE(&service.bot("qa-1").await));
}

#[tokio::test]
async fn an_ignored_signal_stays_ignored() {
    let service = Service::with(&[("qa-1", "")]).await;
    let command = service.botfarm(&["run", "--", "sh", "-c", "echo ready; cat"]);
    let mut nohup = tokio::process::Command::new("nohup");
    nohup
        .arg(command.as_std().get_program())
        .args(command.as_std().get_args().filter(|arg| *arg != "--default-signal"));
    nohup.env("BOTFARM_URL", &service.url);
    let mut run = Running::start(nohup);
    run.until_line("ready").await;
    run.signal(Signal::HUP);
    run.write("still there\n").await;
    assert_eq!(run.line().await.unwrap(), "still there");
    assert_eq!(run.end().await.0, 0);
}

#[tokio::test]
async fn a_cancelled_job_is_over_within_seven_seconds_whatever_the_command_does() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "python3", "-c", STUBBORN]));
    let pids = run.line().await.unwrap();
    run.signal(Signal::INT);
    let start = Instant::now();
    let (code, ..) = run.end().await;
    let took = start.elapsed();
    assert_eq!(code, 137);
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
    assert!(FREE(&service.bot("qa-1").await));
    assert!(!pids.split(' ').any(runs), "one of {pids} is left");
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing_running_and_takes_no_longer_than_that() {
    let service = Service::with(&[("qa-1", "")]).await;
    // The shell ends at once; what it has started takes a second.
    let script = "(trap 'sleep 1; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.1; done) & wait";
    let mut run = Running::start(service.botfarm(&["run", "--", "sh", "-c", script]));
    run.until_line("ready").await;
    run.signal(Signal::TERM);
    let start = Instant::now();
    let (code, rest, _) = run.end().await;
    assert_eq!((code, rest.as_str()), (143, "cleaned\n"));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_ctrl_c_kills_the_command() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "python3", "-c", LISTENER]));
    run.until_line("ready").await;
    run.signal(Signal::INT);
    assert_eq!(run.line().await.unwrap(), "SIGINT");
    run.signal(Signal::INT);
    let start = Instant::now();
    // Its stdin stays open: it does not end by itself.
    let stdin = run.stdin.take();
    let (code, ..) = run.end().await;
    drop(stdin);
    assert_eq!(code, 137);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(FREE(&service.bot("qa-1").await));
}

#[tokio::test]
async fn at_a_terminal_ctrl_c_reaches_the_command_once_and_the_command_decides() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.at_terminal(&["run", "--", "python3", "-c", LISTENER]));
    run.until_line("ready").await;
    run.write("\x03").await;
    run.until_line("^CSIGINT").await;
    // Longer than a cancelled job would have: at a terminal there is no hurry.
    assert!(timeout(Duration::from_secs(6), run.line()).await.is_err());
    assert!(!FREE(&service.bot("qa-1").await));
    // Ctrl-D ends its stdin.
    run.write("\x04").await;
    let (code, rest, _) = run.end().await;
    assert_eq!((code, rest.replace("^D\x08\x08", "").as_str()), (9, ""));
    assert!(FREE(&service.bot("qa-1").await));
}

#[tokio::test]
async fn at_a_terminal_a_second_ctrl_c_kills_the_command_and_what_it_has_started() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.at_terminal(&["run", "--", "python3", "-c", STUBBORN]));
    let _terminal = run.line().await;
    let pids = run.line().await.unwrap();
    // A Ctrl-C that comes before the one before it is dealt with counts as one with it.
    run.write_until_it_ends("\x03").await;
    let (code, ..) = run.end().await;
    assert_eq!(code, 137);
    assert!(!pids.split(' ').any(runs), "one of {pids} is left");
    assert!(FREE(&service.bot("qa-1").await));
}

#[tokio::test]
async fn at_a_terminal_other_signals_to_botfarm_reach_the_command() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.at_terminal(&["run", "--", "python3", "-c", LISTENER]));
    let pid = Pid::from_raw(run.line().await.unwrap().parse().unwrap()).unwrap();
    run.until_line("ready").await;
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        kill_process(pid, signal).unwrap();
        assert_eq!(run.line().await.unwrap(), name);
    }
    run.write("\x04").await;
    let (code, rest, _) = run.end().await;
    assert_eq!((code, rest.replace("^D\x08\x08", "").as_str()), (9, ""));
}

#[tokio::test]
async fn a_terminal_that_goes_away_ends_the_command() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.at_terminal(&["run", "--", "python3", "-c", STUBBORN]));
    let botfarm = run.line().await.unwrap();
    let pids = run.line().await.unwrap();
    run.signal(Signal::KILL);
    let start = Instant::now();
    service.until_bot("qa-1", FREE).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
    assert!(!pids.split(' ').any(runs), "one of {pids} is left");
    // The account is free, and so botfarm is about to end, if it has not.
    let ended = async {
        while runs(&botfarm) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("botfarm ends");
}

#[tokio::test]
async fn a_command_that_releases_its_lease_itself_goes_on() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run =
        Running::start(service.botfarm(&["run", "--ttl=5s", "--", "sh", "-c", "echo $BOTFARM_LEASE_ID; cat; exit 3"]));
    let lease = run.line().await.unwrap();
    let request =
        format!("DELETE /api/v1/leases/{lease}?outcome=dirty HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut connection = TcpStream::connect(service.url.strip_prefix("http://").unwrap()).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    run.until_said("was released while the command runs", 1).await;
    run.write("still there\n").await;
    assert_eq!(run.line().await.unwrap(), "still there");
    assert_eq!(run.end().await.0, 3);
    assert_eq!(service.bot("qa-1").await["condition"], "dirty");
}

#[tokio::test]
async fn a_revoked_lease_stops_the_command_while_its_account_still_rests() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "python3", "-c", STUBBORN]));
    let pids = run.line().await.unwrap();
    service.output(&["revoke", "qa-1", "--reason", "needed for the demo"]).await;
    let (code, _, said) = run.end().await;
    assert_eq!(code, 123);
    assert!(said.contains("needed for the demo") && said.contains("the result is not valid"), "{said}");
    assert!(!pids.split(' ').any(runs), "one of {pids} is left");
    let bot = service.bot("qa-1").await;
    assert!(!bot["cooling_until"].is_null(), "nobody could have had the account yet: {bot}");
}

#[tokio::test]
async fn a_command_that_has_just_ended_well_is_failed_for_a_lease_that_was_lost() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--", "sh", "-c", "echo ready; cat"]));
    run.until_line("ready").await;
    service.output(&["revoke", "qa-1", "--reason", "needed for the demo"]).await;
    let (code, _, said) = run.end().await;
    assert_eq!(code, 123, "{said}");
    assert!(said.contains("needed for the demo"), "{said}");
}

#[tokio::test]
async fn when_the_farm_is_out_of_reach_the_command_is_gone_before_the_lease_ends() {
    let service = Service::with(&[("qa-1", "")]).await;
    let (url, cut) = proxy(&service.url).await;
    // Notes the time again and again, and only KILL ends it.
    let script = "
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'SIGTERM\\n'))
os.write(1, b'ready\\n')
while True:
    with open('now', 'w') as file:
        file.write(str(time.time()))
    os.replace('now', 'alive')
    time.sleep(0.002)
";
    let mut run = Running::start(service.botfarm(&["run", "--farm", &url, "--ttl=6s", "--", "python3", "-c", script]));
    run.until_line("ready").await;
    let granted = service.bot("qa-1").await["lease"]["expires_at"].clone();
    service.until_bot("qa-1", |bot| bot["lease"]["expires_at"] != granted).await;
    cut.send_replace(true);
    run.until_said("could not be renewed", 1).await;
    run.until_line("SIGTERM").await;
    let (code, _, said) = run.end().await;
    let ended = Utc::now();
    assert_eq!(code, 123, "{said}");
    let alive: f64 = service.read("alive").parse().unwrap();
    let alive = DateTime::<Utc>::from(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(alive));
    let expired = service.until_bot("qa-1", FREE).await;
    assert!(!expired["cooling_until"].is_null(), "the lease was not released, but left to expire: {expired}");
    let history = service.json(&["history", "qa-1"]).await;
    let expiry: DateTime<Utc> = history[0]["to"].as_str().unwrap().parse().unwrap();
    assert!(alive < ended && ended < expiry, "alive until {alive}, botfarm until {ended}, the lease until {expiry}");
}

#[tokio::test]
async fn a_short_outage_is_survived() {
    let service = Service::with(&[("qa-1", "")]).await;
    let (url, cut) = proxy(&service.url).await;
    let run = service.botfarm(&["run", "--farm", &url, "--ttl=12s", "--", "sh", "-c", "echo ready; cat; exit 4"]);
    let mut run = Running::start(run);
    run.until_line("ready").await;
    cut.send_replace(true);
    run.until_said("could not be renewed", 1).await;
    cut.send_replace(false);
    run.until_said("the lease is renewed again", 1).await;
    assert_eq!(run.end().await.0, 4);
}

/// A proxy to the service at `url`, and the switch that cuts it: then nothing comes through, either way.
async fn proxy(url: &str) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), relay(listener, url))
}

fn relay(listener: TcpListener, url: &str) -> watch::Sender<bool> {
    let (cut, is_cut) = watch::channel(false);
    let service = url.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (inner, _) = listener.accept().await.unwrap();
            let outer = TcpStream::connect(&service).await.unwrap();
            let ((from_inner, to_inner), (from_outer, to_outer)) = (inner.into_split(), outer.into_split());
            for (mut from, mut to) in [(from_inner, to_outer), (from_outer, to_inner)] {
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(read @ 1..) = from.read(&mut bytes).await {
                        if is_cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    cut
}

#[tokio::test]
async fn a_wrapper_that_stood_still_kills_the_command_once_it_goes_on() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--ttl=5s", "--", "python3", "-c", STUBBORN]));
    let pids = run.line().await.unwrap();
    run.signal(Signal::STOP);
    service.until_bot("qa-1", FREE).await;
    run.signal(Signal::CONT);
    let start = Instant::now();
    let (code, _, said) = run.end().await;
    assert_eq!(code, 123, "{said}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(!pids.split(' ').any(runs), "one of {pids} is left");
}

#[tokio::test]
async fn what_the_file_says_holds_where_no_flag_and_no_variable_does() {
    let service = Service::with(&[("qa-1", "")]).await;
    let code = async |arguments: &[&str], variable: (&str, &str)| {
        let mut command = service.botfarm(&[&["run"], arguments, &["--", "true"]].concat());
        command.env(variable.0, variable.1);
        finish(command).await.0
    };
    service.file("botfarm.toml", "env = \"prod\"\nttl = \"30s\"\nwait = \"0s\"\n");
    assert_eq!(code(&[], ("X", "")).await, 125);
    assert_eq!(code(&[], ("BOTFARM_ENV", "stage")).await, 0);
    assert_eq!(code(&["--env=stage"], ("BOTFARM_ENV", "prod")).await, 0);
    service.file("botfarm.toml", "ttl = \"1s\"\n");
    assert_eq!(code(&[], ("X", "")).await, 125);
    assert_eq!(code(&["--ttl=30s"], ("X", "")).await, 0);
    service.file("botfarm.toml", "wait = \"soon\"\n");
    let (code, _, said) = finish(service.botfarm(&["run", "--", "true"])).await;
    assert!(code == 125 && said.contains("botfarm.toml, line 1: "), "{said}");
}

#[tokio::test]
async fn after_kill_9_the_account_is_free_with_the_ttl() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut run = Running::start(service.botfarm(&["run", "--ttl=5s", "--", "sh", "-c", "echo $$; exec sleep 60"]));
    let command = run.line().await.unwrap();
    run.signal(Signal::KILL);
    let start = Instant::now();
    service.until_bot("qa-1", FREE).await;
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    let history = service.json(&["history", "qa-1"]).await;
    assert_eq!(history[0]["reason"], "expired");
    kill_process(Pid::from_raw(command.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_lease_lives_as_long_as_the_command_whatever_its_ttl() {
    let service = Service::with(&[("qa-1", "")]).await;
    let run = Running::start(service.botfarm(&["run", "--ttl=5s", "--", "sleep", "7"]));
    assert_eq!(run.end().await, (0, String::new(), String::new()));
    let history = service.json(&["history", "qa-1"]).await;
    assert_eq!((history.as_array().unwrap().len(), &history[0]["reason"]), (1, &"released".into()));
}

#[tokio::test]
async fn on_ci_secrets_are_masked_also_when_they_come_in_pieces() {
    let service = Service::with(&[("qa-1", "")]).await;
    let script = r#"
printf 'stdout: %s|' "$BOTFARM_USER_PASSWORD"
echo "stderr: $BOTFARM_USER_PASSWORD" >&2
for piece in s 3 'cret of' ' qa' -1 '|'; do printf %s "$piece"; sleep 0.05; done
printf 's3cret of qa-2|%s\n' "$BOTFARM_LEASE_ID"
exit 5
"#;
    let shown = |flags: &'static [&'static str], ci: &'static str| {
        let mut command = service.botfarm(&[&["run"], flags, &["--", "sh", "-c", script]].concat());
        command.env("CI", ci);
        async { finish(command).await }
    };
    let (code, stdout, stderr) = shown(&[], "true").await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (5, "stdout: ***|***|s3cret of qa-2|***\n", "stderr: ***\n"));
    for (flags, ci) in [(&["--no-mask"][..], "true"), (&[], ""), (&[], "false")] {
        let (code, stdout, stderr) = shown(flags, ci).await;
        assert_eq!((code, stderr.as_str()), (5, "stderr: s3cret of qa-1\n"));
        assert!(stdout.starts_with("stdout: s3cret of qa-1|s3cret of qa-1|s3cret of qa-2|"), "{stdout}");
    }
}

#[tokio::test]
async fn masked_output_arrives_whole_and_ends_with_the_command() {
    let service = Service::with(&[("qa-1", "")]).await;
    // More than a pipe holds, and something left behind that keeps it open.
    let script = "sleep 60 & i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i + 1)); done; echo $! >&2";
    let mut command = service.botfarm(&["run", "--", "sh", "-c", script]);
    command.env("CI", "true");
    let start = Instant::now();
    let (code, stdout, left) = finish(command).await;
    assert_eq!((code, stdout.lines().count(), stdout.lines().last()), (0, 20_000, Some("line 19999")));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    kill_process(Pid::from_raw(left.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_ci_job_is_the_holder() {
    let service = Service::with(&[("qa-1", "")]).await;
    let mut command = service.botfarm(&["run", "--note", "smoke", "--", "cat"]);
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "acme/shop"),
        ("GITHUB_WORKFLOW", "e2e"),
        ("GITHUB_RUN_ID", "9001"),
        ("GITHUB_RUN_NUMBER", "42"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_JOB", "chrome"),
    ] {
        command.env(name, value);
    }
    let run = Running::start(command);
    let bot = service.until_bot("qa-1", |bot| !FREE(bot)).await;
    assert_eq!(bot["lease"]["holder"], "GitHub acme/shop e2e #42 chrome");
    assert_eq!(bot["lease"]["url"], "https://github.com/acme/shop/actions/runs/9001/attempts/1");
    assert_eq!((&bot["lease"]["note"], &bot["lease"]["run"]), (&"smoke".into(), &"GitHub acme/shop 9001/1".into()));
    assert_eq!(run.end().await.0, 0);
}
