//! What the model knows of a farm: everything in vectors, every question answered by a search.

use std::{fmt, time::Duration};

use crate::{
    Bot, BotId, Condition, EndReason, Fence, Holder, LeaseId, LeasePolicy, LeaseRequest, Outcome, Secret, Selector,
    StickyKey, rules::matching,
};

/// When something happens, since the case began: not before `from`, and done at `to`. Both are the same where time is
/// paused; elsewhere a call lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Window {
    pub(super) fn plus(self, span: Duration) -> Self {
        Self { from: self.from + span, to: self.to + span }
    }
}

/// What the farm is doing with a bot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Is {
    /// Nobody holds it. It may be reserved for a request for many: which of the bots that fit, no farm says.
    Free,
    Held(LeaseId),
    Resting(Window),
}

#[derive(Debug)]
pub(super) struct ModelBot {
    pub(super) bot: Bot,
    pub(super) password: Secret,
    pub(super) is: Is,
    /// Which bot became free first: it has the smaller number. Those that became free together have the same.
    pub(super) since: u64,
    pub(super) sticky: Option<StickyKey>,
    /// Every hand-out, oldest first.
    pub(super) hand_outs: Vec<HandOut>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct HandOut {
    pub(super) fence: Fence,
    pub(super) holder: Holder,
    pub(super) end: Option<(EndReason, Option<Outcome>)>,
}

#[derive(Debug, Clone)]
pub(super) struct ModelLease {
    pub(super) request: LeaseRequest,
    /// One for each selector.
    pub(super) bots: Vec<(BotId, Fence)>,
    /// Which lease was granted first: it has the smaller number. Those that were granted together have the same.
    pub(super) since: u64,
    pub(super) ends: Window,
}

#[derive(Debug)]
pub(super) struct ModelWaiter {
    pub(super) ticket: u64,
    pub(super) request: LeaseRequest,
    /// It came with the operation that is being judged, and nobody it could have come before.
    pub(super) new: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) policy: LeasePolicy,
    counter: u64,
    pub(super) bots: Vec<ModelBot>,
    pub(super) leases: Vec<ModelLease>,
    pub(super) ended: Vec<(ModelLease, EndReason)>,
    /// Who waits, in the order of their tickets.
    pub(super) line: Vec<ModelWaiter>,
    /// The places of those who have gone, and until when they are kept.
    pub(super) kept: Vec<(LeaseId, u64, Window)>,
}

impl State {
    pub(super) fn new(policy: LeasePolicy) -> Self {
        Self {
            policy,
            counter: 0,
            bots: Vec::new(),
            leases: Vec::new(),
            ended: Vec::new(),
            line: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn bot(&self, id: BotId) -> Option<&ModelBot> {
        self.bots.iter().find(|bot| bot.bot.id == id)
    }

    pub(super) fn bot_mut(&mut self, id: BotId) -> Option<&mut ModelBot> {
        self.bots.iter_mut().find(|bot| bot.bot.id == id)
    }

    pub(super) fn lease(&self, id: LeaseId) -> Option<&ModelLease> {
        self.leases.iter().find(|lease| lease.request.id == id)
    }

    /// The free bots.
    pub(super) fn free(&self) -> Vec<BotId> {
        self.bots.iter().filter(|bot| bot.is == Is::Free).map(|bot| bot.bot.id).collect()
    }

    pub(super) fn add(&mut self, bot: Bot, password: Secret) {
        let since = self.count();
        self.bots.push(ModelBot { bot, password, is: Is::Free, since, sticky: None, hand_outs: Vec::new() });
    }

    /// Puts a request in the line: at its old place, if that is kept, or at the end.
    pub(super) fn join(&mut self, request: LeaseRequest) {
        let kept = self.kept.iter().position(|(id, ..)| *id == request.id);
        let kept = kept.map(|index| self.kept.remove(index).1);
        let ticket = kept.unwrap_or_else(|| self.count());
        self.line.push(ModelWaiter { ticket, request, new: kept.is_none() });
        self.line.sort_by_key(|waiter| waiter.ticket);
    }

    /// Takes a request out of the line. Its place is kept from `now` on, unless it has got what it came for.
    pub(super) fn leave(&mut self, id: LeaseId, keep_from: Option<Window>) {
        let Some(index) = self.line.iter().position(|waiter| waiter.request.id == id) else { return };
        let waiter = self.line.remove(index);
        if let Some(now) = keep_from {
            self.kept.push((id, waiter.ticket, now.plus(self.policy.place_kept)));
        }
    }

    pub(super) fn grant(&mut self, request: LeaseRequest, bots: Vec<(BotId, Fence)>, since: u64, now: Window) {
        for (id, fence) in &bots {
            if let Some(bot) = self.bot_mut(*id) {
                bot.is = Is::Held(request.id);
                bot.hand_outs.push(HandOut { fence: *fence, holder: request.terms.holder.clone(), end: None });
            }
        }
        let ends = now.plus(request.ttl.unwrap_or(self.policy.default_ttl));
        self.leases.push(ModelLease { request, bots, since, ends });
    }

    pub(super) fn end(&mut self, id: LeaseId, at: Window, reason: EndReason, outcome: Option<Outcome>) {
        let Some(index) = self.leases.iter().position(|lease| lease.request.id == id) else { return };
        let lease = self.leases.remove(index);
        let (condition, rest) = match outcome {
            Some(Outcome::Clean) => (Some(Condition::Ready), self.policy.reuse_delay),
            Some(Outcome::Dirty) => (Some(Condition::Dirty), Duration::ZERO),
            Some(Outcome::Broken) => (Some(Condition::Broken), Duration::ZERO),
            None => (None, self.policy.cooling),
        };
        let since = self.count();
        for (id, _) in &lease.bots {
            let Some(bot) = self.bot_mut(*id) else { continue };
            bot.sticky.clone_from(&lease.request.sticky);
            bot.bot.condition = condition.unwrap_or(bot.bot.condition);
            bot.since = since;
            bot.is = if rest.is_zero() { Is::Free } else { Is::Resting(at.plus(rest)) };
            if let Some(last) = bot.hand_outs.last_mut() {
                last.end = Some((reason, outcome));
            }
        }
        self.ended.push((lease, reason));
    }

    /// All that happens by itself until `now`, without what a call is told.
    pub(super) fn pass(&mut self, now: Duration) {
        while let Some(lease) = self.leases.iter().find(|lease| lease.ends.to <= now) {
            let (id, ends) = (lease.request.id, lease.ends);
            self.end(id, ends, EndReason::Expired, None);
        }
        let rested = |bot: &ModelBot| match bot.is {
            Is::Resting(until) if until.to <= now => Some((until, bot.bot.id)),
            _ => None,
        };
        let mut rested: Vec<_> = self.bots.iter().filter_map(rested).collect();
        rested.sort_unstable();
        let (mut since, mut latest) = (0, Duration::ZERO);
        for (until, id) in rested {
            if since == 0 || until.from > latest {
                since = self.count();
            }
            latest = latest.max(until.to);
            if let Some(bot) = self.bot_mut(id) {
                (bot.is, bot.since) = (Is::Free, since);
            }
        }
        self.kept.retain(|(.., until)| until.to > now);
    }

    /// The first moment at which something may happen by itself, besides a request having waited long enough.
    pub(super) fn next(&self) -> Option<Duration> {
        let ends = self.leases.iter().map(|lease| lease.ends.from);
        ends.chain(self.rests().map(|until| until.from)).chain(self.kept.iter().map(|(.., until)| until.from)).min()
    }

    /// Until when bots rest.
    pub(super) fn rests(&self) -> impl Iterator<Item = Window> {
        self.bots.iter().filter_map(|bot| match bot.is {
            Is::Resting(until) => Some(until),
            _ => None,
        })
    }

    /// The bots that a selector could ever be granted.
    pub(super) fn members(&self, request: &LeaseRequest, selector: &Selector) -> Vec<&ModelBot> {
        self.bots.iter().filter(|bot| request.could_take(selector, &bot.bot)).collect()
    }

    /// Whether there could ever be bots enough.
    pub(super) fn could_match(&self, request: &LeaseRequest) -> bool {
        let members = |selector| self.members(request, selector).iter().map(|bot| bot.bot.id).collect::<Vec<_>>();
        matching::assign(&request.selectors.iter().map(members).collect::<Vec<_>>()).iter().all(Option::is_some)
    }

    /// For each selector of a request, which of these bots it may be granted.
    pub(super) fn fitting(&self, request: &LeaseRequest, among: &[BotId]) -> Vec<Vec<BotId>> {
        let fits = |selector: &Selector, id: BotId| {
            !request.avoid.contains(&id) && self.bot(id).is_some_and(|bot| selector.fits(&bot.bot))
        };
        let fitting = |selector| among.iter().copied().filter(|id| fits(selector, *id)).collect();
        request.selectors.iter().map(fitting).collect()
    }
}

/// Who waits for what, and how the bots are.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("before that")?;
        for ModelWaiter { request, .. } in &self.line {
            let selectors: Vec<_> = request.selectors.iter().map(ToString::to_string).collect();
            write!(f, "\n  {} asks for {}, not {:?}", request.terms.holder, selectors.join("; "), request.avoid)?;
        }
        for ModelBot { bot, is, since, .. } in &self.bots {
            write!(
                f,
                "\n  {} ({}) {:?} is {} and {is:?} (since {since})",
                bot.login, bot.id, bot.labels, bot.condition
            )?;
        }
        Ok(())
    }
}
