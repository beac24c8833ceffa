//! Whether what the clients were told, and what stands in the books, is what a farm promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use botfarm_core::{BotId, LeaseId};

use crate::{
    schedule::{Choice, Wait},
    story::{Call, CallRecord, HandOut, Reply, Story},
};

/// What is wrong.
pub(crate) type Complaint = String;

/// What is known of one lease id.
#[derive(Debug, Default)]
struct Lease<'a> {
    /// Its hand-outs, without those that were undone.
    rows: Vec<&'a HandOut>,
    undone: Vec<&'a HandOut>,
    /// What anybody was told of its bots, each with the call.
    told: Vec<Seen<'a>>,
    /// The call that ended it, by the note in the books.
    ender: Option<&'a CallRecord>,
}

/// What a call was told of the bots of a lease.
#[derive(Debug)]
struct Seen<'a> {
    told: &'a CallRecord,
    back: Instant,
    holder: &'a str,
    bots: &'a [(BotId, i64)],
    until: Instant,
}

/// The whole judgement. The bots stand in the order of their numbers.
pub(crate) fn judge(story: &Story, books: &[HandOut], bots: &[BotId]) -> Result<(), Complaint> {
    let leases = leases(story, books)?;
    for (id, lease) in &leases {
        check_whole(story, *id, lease)?;
        check_end(story, *id, lease)?;
        check_told(story, *id, lease, bots)?;
    }
    check_holders(story, &leases)?;
    check_books(books)?;
    for told in &story.calls {
        check_refusal(story, told, &leases)?;
    }
    check_order(story, &leases)
}

fn leases<'a>(story: &'a Story, books: &'a [HandOut]) -> Result<BTreeMap<LeaseId, Lease<'a>>, Complaint> {
    let mut leases: BTreeMap<LeaseId, Lease<'_>> = BTreeMap::new();
    for request in &story.requests {
        leases.entry(request.asks.id).or_default();
    }
    for row in books {
        let lease = leases.get_mut(&row.lease).ok_or_else(|| format!("nobody asked for this: {row:?}"))?;
        if row.reason == "undone" { lease.undone.push(row) } else { lease.rows.push(row) }
    }
    for told in &story.calls {
        if let (Some(id), Some((back, Reply::Lease { holder, bots, until }))) = (story.lease_of(told.call), &told.back)
        {
            let seen = Seen { told, back: *back, holder, bots, until: *until };
            leases.entry(id).or_default().told.push(seen);
        }
    }
    for lease in leases.values_mut() {
        let note = lease.rows.first().and_then(|row| row.note.as_ref());
        let number = note.and_then(|note| note.strip_prefix("call ")?.parse::<usize>().ok());
        lease.ender = number.and_then(|number| story.calls.get(number));
    }
    Ok(leases)
}

/// It was granted once, all of it, and whoever was told of it was told the same; what anybody has seen was not undone.
fn check_whole(story: &Story, id: LeaseId, lease: &Lease<'_>) -> Result<(), Complaint> {
    let name = story.number(id);
    let request = story.requests.iter().find(|it| it.asks.id == id);
    let sizes: BTreeSet<usize> =
        story.requests.iter().filter(|it| it.asks.id == id).map(|it| it.asked.selectors.len()).collect();
    let granted: BTreeSet<(BotId, i64)> = lease.rows.iter().map(|row| (row.bot, row.fence)).collect();
    for Seen { bots, .. } in &lease.told {
        let told: BTreeSet<_> = bots.iter().copied().collect();
        if let Some(row) = lease.undone.iter().find(|row| told.contains(&(row.bot, row.fence))) {
            return Err(format!("{name} was undone though it was seen: {row:?}"));
        }
        if told != granted {
            return Err(format!("{name} was told to be {told:?}; in the books it is {granted:?}"));
        }
    }
    if request.is_some() && !granted.is_empty() && !sizes.contains(&granted.len()) {
        return Err(format!("{name} has {} bots, it asked for {sizes:?}", granted.len()));
    }
    let bots: BTreeSet<_> = granted.iter().map(|(bot, _)| bot).collect();
    let ends: BTreeSet<_> = lease.rows.iter().map(|row| (row.until, &row.reason, &row.note)).collect();
    if bots.len() < granted.len() || ends.len() > 1 {
        return Err(format!("{name} was granted twice, or ended in parts: {:?}", lease.rows));
    }
    Ok(())
}

/// Somebody ended it who may, and was not refused; or its time was over.
fn check_end(story: &Story, id: LeaseId, lease: &Lease<'_>) -> Result<(), Complaint> {
    let (name, Some(row)) = (story.number(id), lease.rows.first()) else { return Ok(()) };
    let holds = |bot: BotId| lease.rows.iter().any(|row| row.bot == bot);
    if row.reason == "expired" {
        let brief = story.requests.iter().any(|it| it.asks.id == id && it.asked.brief);
        return if brief { Ok(()) } else { Err(format!("{name} expired long before its time: {row:?}")) };
    }
    let Some(ender) = lease.ender else { return Err(format!("nobody knows who ended {name}: {row:?}")) };
    let may = match (row.reason.as_str(), ender.call) {
        ("released", Call::Release(named)) => named == id,
        ("released", Call::ReleaseBot(bot, named)) => holds(bot) && named.is_none_or(|named| named == id),
        ("revoked", Call::Revoke(bot)) => holds(bot),
        _ => false,
    };
    if !may {
        return Err(format!("{name} was ended by a call for something else, {:?}: {row:?}", ender.call));
    }
    if let Some((_, Reply::Refused(code, _))) = &ender.back
        && *code != "unavailable"
    {
        return Err(format!("{name} was ended by a call that was refused as {code}: {row:?}"));
    }
    Ok(())
}

/// What was told of it is what was asked for, before its end.
fn check_told(story: &Story, id: LeaseId, lease: &Lease<'_>, all: &[BotId]) -> Result<(), Complaint> {
    let name = story.number(id);
    let over = lease.ender.and_then(|ender| ender.back.as_ref()).map(|(back, _)| *back);
    for Seen { told, holder, bots, .. } in &lease.told {
        if over.is_some_and(|over| told.sent > over) {
            return Err(format!("{name} was told to be in force after its end, by {:?}", told.call));
        }
        let asked = match told.call {
            Call::Acquire(request) => story.requests.get(request).into_iter().collect::<Vec<_>>(),
            _ => story.requests.iter().filter(|it| it.asks.id == id).collect(),
        };
        let fits = asked.iter().any(|it| {
            let named = it.asked.selectors.iter().zip(bots.iter());
            let mut named = named.filter_map(|(selector, (bot, _))| match selector {
                Choice::Bot(number) => Some(all[*number] == *bot),
                _ => None,
            });
            it.asks.terms.holder.as_str() == *holder && it.asked.selectors.len() == bots.len() && named.all(|fits| fits)
        });
        if !fits {
            return Err(format!("{name} is not what was asked for, but {holder}'s {bots:?}, for {:?}", told.call));
        }
    }
    Ok(())
}

/// From when until when a client may believe that a bot is its own.
struct Belief {
    lease: LeaseId,
    fence: i64,
    from: Instant,
    until: Instant,
}

/// No two clients believe at a time that a bot is theirs, and fences grow.
fn check_holders(story: &Story, leases: &BTreeMap<LeaseId, Lease<'_>>) -> Result<(), Complaint> {
    let mut beliefs: BTreeMap<BotId, Vec<Belief>> = BTreeMap::new();
    for (id, lease) in leases {
        let Some(from) = lease.told.iter().map(|seen| seen.back).min() else { continue };
        let Some(until) = lease.told.iter().map(|seen| seen.until).max() else { continue };
        let until = lease.ender.map_or(until, |ender| until.min(ender.sent));
        for row in lease.rows.iter().filter(|_| from < until) {
            beliefs.entry(row.bot).or_default().push(Belief { lease: *id, fence: row.fence, from, until });
        }
    }
    for beliefs in beliefs.values_mut() {
        beliefs.sort_by_key(|belief| belief.fence);
        for pair in beliefs.windows(2) {
            if pair[1].from < pair[0].until || pair[1].fence == pair[0].fence {
                let [one, other] = [story.number(pair[0].lease), story.number(pair[1].lease)];
                return Err(format!("{one} and {other} hold the same bot at a time, or their fences do not grow"));
            }
        }
    }
    Ok(())
}

/// In the books, which stand in the order of bots and fences, nothing overlaps.
fn check_books(books: &[HandOut]) -> Result<(), Complaint> {
    for pair in books.windows(2).filter(|pair| pair[0].bot == pair[1].bot) {
        if pair[1].fence <= pair[0].fence || pair[0].until > pair[1].since || pair[0].until < pair[0].since {
            return Err(format!("two hand-outs at a time in the books, or fences that do not grow: {pair:?}"));
        }
    }
    Ok(())
}

/// Nobody is refused without reason, and what is refused has changed nothing.
fn check_refusal(story: &Story, told: &CallRecord, leases: &BTreeMap<LeaseId, Lease<'_>>) -> Result<(), Complaint> {
    let Some((back, answer)) = &told.back else { return Ok(()) };
    let lease = story.lease_of(told.call).and_then(|id| leases.get(&id));
    let wrong = |why: &str| Err(format!("{:?} of step {} was told {answer:?}: {why}", told.call, told.step));
    // It had been undone before, which is as good as a release.
    let regranted = lease.is_some_and(|lease| !lease.undone.is_empty());
    // It was ended for certain before this was asked, or for certain not before it was answered.
    let ended_before = lease.is_some_and(|lease| {
        let over = lease.ender.and_then(|ender| ender.back.as_ref());
        over.is_some_and(|(over, _)| told.sent > *over)
    });
    let lives = !regranted
        && lease.is_some_and(|lease| match (lease.rows.first(), lease.ender) {
            (Some(_), Some(ender)) => ender.sent > *back,
            (Some(_), None) => false,
            (None, _) => true,
        });
    let seen_before = lease.is_some_and(|lease| lease.told.iter().any(|seen| seen.back < told.sent));
    let Reply::Refused(code, _) = answer else {
        return match (told.call, lease.and_then(|lease| lease.rows.first())) {
            (Call::Release(_), Some(_)) if regranted => Ok(()),
            (Call::Release(_), Some(row)) if lives || row.reason != "released" => wrong("it was not released"),
            _ => Ok(()),
        };
    };
    match (told.call, *code) {
        (_, "unavailable") if story.cuts >= 2 => Ok(()),
        (Call::Acquire(number), code) => {
            let request = &story.requests[number];
            let alone = story.requests.iter().filter(|it| it.asks.id == request.asks.id).count() == 1;
            match code {
                "key-reused" if !alone => Ok(()),
                _ if ended_before && code != "lease-lost" => wrong("its lease had ended"),
                "lease-lost" if lives => wrong("nobody has ended its lease"),
                "busy" | "exhausted" if request.asked.wait == Wait::Long => wrong("it still waits"),
                "lease-lost" | "busy" | "exhausted" => Ok(()),
                "no-match"
                    if relabels(story) && request.asked.selectors.iter().any(|it| matches!(it, Choice::Role(_))) =>
                {
                    Ok(())
                }
                // Two selectors may name the same bot, and three two of a role.
                "no-match" if request.asked.selectors.len() > 1 => Ok(()),
                _ => wrong("there is no reason for it"),
            }
        }
        (Call::Renew(_) | Call::Lookup(_) | Call::Release(_), "lease-lost") if lives => wrong("nobody has ended it"),
        (Call::Renew(_) | Call::Lookup(_) | Call::Release(_), "no-such-lease") if seen_before => {
            wrong("it had been seen")
        }
        (Call::Renew(_) | Call::Lookup(_) | Call::Release(_), "lease-lost" | "no-such-lease")
        | (Call::ReleaseBot(..), "lease-lost")
        | (Call::Change(_), "in-use") => Ok(()),
        _ => wrong("there is no reason for it"),
    }
}

/// Whether the roles of bots change.
fn relabels(story: &Story) -> bool {
    story.calls.iter().any(|told| matches!(told.call, Call::Change(_) | Call::Import))
}

/// Whoever stood in the queue before, for the same, was served before.
fn check_order(story: &Story, leases: &BTreeMap<LeaseId, Lease<'_>>) -> Result<(), Complaint> {
    for later in story.requests.iter().filter(|it| !it.reuses) {
        let Some(first) = leases[&later.asks.id].rows.iter().map(|row| row.fence).min() else { continue };
        for earlier in &later.behind {
            let of_it: Vec<_> = story.requests.iter().filter(|it| it.asks.id == *earlier).collect();
            let [request] = of_it[..] else { continue };
            let went = story.calls.iter().any(|it| it.hung_up && story.lease_of(it.call) == Some(*earlier));
            if went || request.asked.wait != Wait::Long || request.asked.selectors != later.asked.selectors {
                continue;
            }
            let last = leases[earlier].rows.iter().map(|row| row.fence).max();
            if last.is_some_and(|last| last > first) {
                let [earlier, later] = [story.number(*earlier), story.number(later.asks.id)];
                return Err(format!("{later} was served before {earlier}, who stood in the queue for the same before"));
            }
        }
    }
    Ok(())
}
