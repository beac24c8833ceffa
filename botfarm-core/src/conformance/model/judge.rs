//! Whether what a farm did is what it promised.
//!
//! What each request was told is explained in the order of the line: who was served took bots that were there for it,
//! and who was not found too few. Where a farm may choose (which free bots are kept for a request for many), any choice
//! that explains what was seen is taken.

use super::state::{Is, ModelBot, ModelWaiter, State};
use crate::{Bot, BotId, BotState, Busy, Error, Lease, LeaseRequest, Result as FarmResult, Shortage, rules::matching};

/// What is wrong.
pub(super) type Complaint = String;

/// What the calls of one request have been told so far.
#[derive(Debug, Default)]
pub(super) struct Fate<'a> {
    /// The answers, each with whether the call was to give up by now.
    pub(super) answers: Vec<(&'a FarmResult<Lease>, bool)>,
    /// Calls that have no answer, though they were to give up by now.
    pub(super) late: usize,
    /// Calls that wait.
    pub(super) pending: usize,
    /// It was hung up on, and may have been undone.
    pub(super) may_be_undone: bool,
}

impl Fate<'_> {
    pub(super) fn granted(&self) -> Option<&Lease> {
        self.answers.iter().find_map(|(answer, _)| answer.as_ref().ok())
    }
}

impl State {
    /// Explains what those in the line were told, from the one at `place` on, with these bots left for them.
    pub(super) fn explain(&self, place: usize, fates: &[Fate<'_>], left: &[BotId]) -> Result<(), Complaint> {
        let (Some(waiter), Some(fate)) = (self.line.get(place), fates.get(place)) else { return Ok(()) };
        let request = &waiter.request;
        let holder = &request.terms.holder;
        let could_match = self.could_match(request);
        for (answer, over) in &fate.answers {
            match answer {
                Ok(_) => {}
                Err(Error::NoMatch { .. }) if !could_match => {}
                Err(Error::LeaseLost(_)) if fate.may_be_undone => {}
                Err(Error::Busy(_) | Error::Exhausted(_)) if *over && could_match => {}
                Err(error) => {
                    let (code, reason) = (error.code(), if *over { "asked once or waited" } else { "still waits" });
                    return Err(format!("{holder}, who {reason}, was told {code}; could match: {could_match}"));
                }
            }
        }
        if let Some(lease) = fate.granted() {
            if fate.pending + fate.late > 0 {
                return Err(format!("{holder} has a lease, but a twin is not told"));
            }
            let left = self.check_grant(waiter, lease, left)?;
            return self.explain(place + 1, fates, &left);
        }
        if fate.late > 0 {
            return Err(format!("{holder} has waited long enough, and is not told"));
        }
        let undone = fate.answers.iter().any(|(answer, _)| matches!(answer, Err(Error::LeaseLost(_))));
        if undone || (!could_match && fate.pending == 0) {
            return self.explain(place + 1, fates, left);
        }
        if !could_match {
            return Err(format!("{holder} waits for what no bots could ever satisfy: {}", listed(request)));
        }
        let candidates = self.fitting(request, left);
        let most = matching::assign(&candidates).iter().flatten().count();
        if most == request.selectors.len() {
            return Err(format!("{holder} was not served, though bots that fit are free: {}", listed(request)));
        }
        if fate.pending == 0 {
            return self.explain(place + 1, fates, left);
        }
        let mut complaint = None;
        for (kept, rest) in choices(left, most) {
            let kept: Vec<Vec<BotId>> = candidates
                .iter()
                .map(|fitting| fitting.iter().copied().filter(|id| kept.contains(id)).collect())
                .collect();
            if matching::assign(&kept).iter().flatten().count() < most {
                continue;
            }
            match self.explain(place + 1, fates, &rest) {
                Ok(()) => return Ok(()),
                Err(other) => complaint = complaint.or(Some(other)),
            }
        }
        Err(complaint.unwrap_or_else(|| "no choice of bots could be kept".to_owned()))
    }

    /// Checks a lease that was granted; gives the bots that are left.
    fn check_grant(&self, waiter: &ModelWaiter, lease: &Lease, left: &[BotId]) -> Result<Vec<BotId>, Complaint> {
        let ModelWaiter { request, new, .. } = waiter;
        let holder = &request.terms.holder;
        if lease.bots.len() != request.selectors.len() {
            return Err(format!("{holder} was granted a part: {} of {}", lease.bots.len(), request.selectors.len()));
        }
        let (mut rest, candidates) = (left.to_vec(), self.fitting(request, left));
        for (leased, fitting) in lease.bots.iter().zip(&candidates) {
            let id = leased.bot.id;
            let bot = self.bot(id).ok_or_else(|| format!("{holder} was granted a bot that there is not: {id}"))?;
            let Some(at) = rest.iter().position(|other| *other == id) else {
                let why = if bot.is == Is::Free { "which is for somebody before it" } else { "which is not free" };
                return Err(format!("{holder} was granted {}, {why}", bot.bot.login));
            };
            rest.remove(at);
            if !fitting.contains(&id) {
                return Err(format!("{holder} was granted {}, which does not fit: {}", bot.bot.login, listed(request)));
            }
            if bot.hand_outs.last().is_some_and(|last| last.fence >= leased.fence) {
                return Err(format!("the fence of {} has not grown: {:?}", bot.bot.login, leased.fence));
            }
            if leased.password != bot.password {
                return Err(format!("{holder} was granted {} with another password", bot.bot.login));
            }
        }
        if (lease.id, &lease.terms.holder, Some(lease.ttl)) != (request.id, holder, request.ttl) {
            return Err(format!("{holder} was granted another lease than asked for: {lease:?}"));
        }
        if let ([leased], [fitting]) = (&lease.bots[..], &candidates[..]) {
            self.check_order(request, *new, leased.bot.id, fitting)?;
        }
        Ok(rest)
    }

    /// Checks which bot a request for one got of those that fit: one last leased with its key, or the least recently
    /// used. Whoever waited may have been served before others became free.
    fn check_order(&self, request: &LeaseRequest, new: bool, got: BotId, fitting: &[BotId]) -> Result<(), Complaint> {
        let bot = |id: BotId| self.bot(id).ok_or_else(|| format!("there is no bot {id}"));
        let got = bot(got)?;
        let preferred = |id: &BotId| request.sticky.is_some() && bot(*id).is_ok_and(|bot| bot.sticky == request.sticky);
        if preferred(&got.bot.id) {
            return Ok(());
        }
        if new && fitting.iter().any(preferred) {
            return Err(format!("{} was not granted the bot last leased with its sticky key", request.terms.holder));
        }
        match fitting.iter().find(|id| bot(**id).is_ok_and(|bot| bot.since < got.since)) {
            Some(_) => Err(format!("{} was not granted the least recently used bot that fits", request.terms.holder)),
            None => Ok(()),
        }
    }

    /// Checks what a request was told that got nothing. It has left the line.
    pub(super) fn check_refusal(&self, request: &LeaseRequest, error: &Error) -> Result<(), Complaint> {
        match error {
            Error::Busy(busy) => self.check_busy(request, busy),
            Error::Exhausted(shortage) => self.check_shortage(request, shortage),
            _ => Ok(()),
        }
    }

    fn check_busy(&self, request: &LeaseRequest, busy: &Busy) -> Result<(), Complaint> {
        let [selector] = &request.selectors[..] else { return Err(format!("a request for many was told {busy:?}")) };
        let members = self.members(request, selector);
        let ([bot], true) = (&members[..], selector.names_a_bot()) else {
            return Err(format!("a request that names no bot was told {busy:?}"));
        };
        let holder = match bot.is {
            Is::Held(id) => self.lease(id).map(|lease| lease.request.terms.holder.clone()),
            _ => None,
        };
        let wanted = (bot.bot.id, bot.bot.condition, holder);
        let told = (busy.bot, busy.condition, busy.holder.clone());
        if told == wanted { Ok(()) } else { Err(format!("a request was told {told:?} of a bot, it is {wanted:?}")) }
    }

    fn check_shortage(&self, request: &LeaseRequest, told: &Shortage) -> Result<(), Complaint> {
        let Some(selector) = request.selectors.get(told.selector) else {
            return Err(format!("a request has no selector {}", told.selector));
        };
        if request.selectors.len() == 1 && selector.names_a_bot() {
            return Err(format!("a request that names a bot was told {told:?}, not that it is busy"));
        }
        let members = self.members(request, selector);
        let count = |is: &dyn Fn(Is) -> bool| members.iter().filter(|bot| is(bot.is)).count() as u64;
        let unfit = members.iter().filter(|bot| bot.is == Is::Free && bot.bot.condition != selector.condition);
        let rivals = self.line.iter().filter(|waiter| waiter.request.id != request.id);
        let rivals = rivals.filter(|waiter| waiter.request.selectors.iter().any(|other| selector.overlaps(other)));
        let wanted = [
            members.len() as u64,
            count(&|is| matches!(is, Is::Held(_))),
            count(&|is| matches!(is, Is::Resting(_))),
            unfit.count() as u64,
            rivals.count() as u64,
        ];
        let counts = [told.matching, told.leased, told.cooling, told.out_of_service, told.waiting];
        if counts != wanted {
            return Err(format!("a request was told {told}; it is {wanted:?}"));
        }
        let holds = |id| members.iter().any(|bot| bot.is == Is::Held(id));
        let holding = || self.leases.iter().filter(|lease| holds(lease.request.id));
        let first = holding().map(|lease| lease.since).min();
        let mut oldest = holding().filter(|lease| Some(lease.since) == first).map(|lease| &lease.request.terms.holder);
        let told_oldest = told.oldest.as_ref().map(|oldest| &oldest.holder);
        if !told_oldest.map_or(first.is_none(), |told| oldest.any(|holder| holder == told)) {
            return Err(format!("a request was told {told}, but somebody else has held one for longer"));
        }
        Ok(())
    }

    /// Compares a bot as everybody may see it.
    pub(super) fn check_bot(&self, seen: &Bot) -> Result<(), Complaint> {
        let id = seen.id;
        let ModelBot { bot, is, .. } = self.bot(id).ok_or_else(|| format!("there is no bot {id}, but it is listed"))?;
        let (state, holder) = match *is {
            Is::Free => (BotState::Free, None),
            Is::Resting(_) => (BotState::Cooling, None),
            Is::Held(id) => (BotState::Leased, self.lease(id).map(|lease| &lease.request.terms.holder)),
        };
        let wanted = (state, holder, bot.condition, &bot.labels, &bot.login);
        let holding = seen.holding.as_ref().map(|holding| &holding.terms.holder);
        let told = (seen.state(), holding, seen.condition, &seen.labels, &seen.login);
        if told == wanted { Ok(()) } else { Err(format!("a bot is seen as {told:?}, it is {wanted:?}")) }
    }
}

fn listed(request: &LeaseRequest) -> String {
    request.selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// All ways to take `count` of these, each with the rest.
fn choices(of: &[BotId], count: usize) -> Vec<(Vec<BotId>, Vec<BotId>)> {
    let Some((first, others)) = of.split_first() else {
        return if count == 0 { vec![(vec![], vec![])] } else { vec![] };
    };
    let with = count.checked_sub(1).map(|count| choices(others, count)).unwrap_or_default();
    let with = with.into_iter().map(|(mut taken, rest)| {
        taken.insert(0, *first);
        (taken, rest)
    });
    let without = choices(others, count).into_iter().map(|(taken, mut rest)| {
        rest.insert(0, *first);
        (taken, rest)
    });
    with.chain(without).collect()
}
