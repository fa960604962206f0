//! Switches: they stop all rules, or one, at once and without another configuration.
//!
//! They are apart from the configuration, so that a reload leaves them as they are. Whoever holds a request because of a rule
//! [watches](Switches::watch) for changes, and lets go of it when its rule is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The stop switch of all rules, and the announcement of every change of a switch.
#[derive(Debug)]
pub struct Switches {
    armed: AtomicBool,
    /// Locked for changes of the stop switch, and for showing it.
    stopped: Mutex<Option<Stopped>>,
    /// The number of changes of any switch.
    changes: watch::Sender<u64>,
}

/// Since when nothing is injected, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The reason, as it was given.
    pub reason: Option<Arc<str>>,
    /// When the stop switch was used.
    pub since: Instant,
}

/// The position of a rule's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switch {
    /// The rule's `enabled` decides.
    #[default]
    Configured,
    /// The rule is on, whatever its `enabled` says.
    On,
    /// The rule is off.
    Off,
    /// The rule is off because a guard stopped it.
    Tripped,
    /// The API has removed the rule, which lets go of what it holds.
    Removed,
}

/// Why a guard stopped a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// The name of the guard that stopped the rule.
    pub guard: Arc<str>,
    /// The condition that came true, in words and with its figures.
    pub reason: Arc<str>,
    /// When the guard stopped the rule.
    pub since: Instant,
}

/// The switch of one rule. Rules of the same name share it across reloads.
#[derive(Debug, Default)]
pub struct RuleSwitch {
    /// A [`Switch`] as a number.
    position: AtomicU8,
    /// Locked for changes of the switch, and for showing it.
    trip: Mutex<Option<Trip>>,
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            armed: AtomicBool::new(true),
            stopped: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Switches {
    /// Whether rules are decided at all.
    pub fn is_armed(&self) -> bool {
        // Relaxed: it guards no other memory. Who waits for a change is woken by `changes`, which orders the two.
        self.armed.load(Ordering::Relaxed)
    }

    /// Stops all injection, or allows it again. Another stop while it is stopped only changes the reason. Returns whether
    /// anything changed.
    pub fn arm(&self, armed: bool, reason: Option<&str>, now: Instant) -> bool {
        let mut stopped = self.stopped.lock();
        let next = (!armed).then(|| Stopped {
            reason: reason.map(Arc::from),
            since: stopped.as_ref().map_or(now, |stopped| stopped.since),
        });
        let changed = *stopped != next;
        *stopped = next;
        self.armed.store(armed, Ordering::Relaxed);
        drop(stopped);
        if changed {
            self.announce();
        }
        changed
    }

    /// Since when nothing is injected, and why; `None` while rules are decided.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped.lock().clone()
    }

    /// Tells everybody who watches that a switch has changed. Call it after a change of a [`RuleSwitch`].
    pub fn announce(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// A receiver that changes with every switch. It begins as changed, so that who watches it looks at the switches first.
    pub fn watch(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        changes
    }
}

impl Switch {
    /// The position's name in the API: `configured`, `on`, `off` or `tripped`.
    pub fn name(self) -> &'static str {
        match self {
            Switch::Configured => "configured",
            Switch::On => "on",
            Switch::Off => "off",
            Switch::Tripped => "tripped",
            Switch::Removed => "removed",
        }
    }
}

impl RuleSwitch {
    /// The position of the switch.
    pub fn position(&self) -> Switch {
        // Relaxed: see `Switches::is_armed`.
        match self.position.load(Ordering::Relaxed) {
            0 => Switch::Configured,
            1 => Switch::On,
            2 => Switch::Off,
            3 => Switch::Tripped,
            _ => Switch::Removed,
        }
    }

    /// Whether a rule whose `enabled` is this takes part in decisions.
    pub fn is_on(&self, enabled: bool) -> bool {
        match self.position() {
            Switch::Configured => enabled,
            Switch::On => true,
            Switch::Off | Switch::Tripped | Switch::Removed => false,
        }
    }

    /// Why a guard stopped the rule, if one did.
    pub fn tripped(&self) -> Option<Trip> {
        self.trip.lock().clone()
    }

    /// Sets the switch to a position other than [`Switch::Tripped`], for which there is [`RuleSwitch::trip`]. Returns whether
    /// anything changed. [`Switches::announce`] must follow.
    pub fn set(&self, to: Switch) -> bool {
        let mut trip = self.trip.lock();
        let changed = self.position() != to;
        if to != Switch::Tripped {
            *trip = None;
            self.store(to);
        }
        changed
    }

    /// Stops the rule on behalf of a guard, unless its switch is off. Returns whether anything changed.
    /// [`Switches::announce`] must follow.
    pub fn trip(&self, why: Trip) -> bool {
        let mut trip = self.trip.lock();
        let trips = !matches!(self.position(), Switch::Off | Switch::Tripped | Switch::Removed);
        if trips {
            *trip = Some(why);
            self.store(Switch::Tripped);
        }
        trips
    }

    fn store(&self, to: Switch) {
        let number = match to {
            Switch::Configured => 0,
            Switch::On => 1,
            Switch::Off => 2,
            Switch::Tripped => 3,
            Switch::Removed => 4,
        };
        self.position.store(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_stop_switch_keeps_its_first_moment_and_its_last_reason() {
        let (switches, now) = (Switches::default(), Instant::now());
        assert!(switches.is_armed() && switches.stopped().is_none());
        assert!(!switches.arm(true, None, now), "nothing changes");
        assert!(switches.arm(false, None, now));
        assert!(switches.arm(false, Some("alarm"), now + Duration::from_secs(9)));
        assert!(!switches.is_armed());
        let stopped = switches.stopped().unwrap();
        assert_eq!((stopped.reason.as_deref(), stopped.since), (Some("alarm"), now));
        assert!(switches.arm(true, Some("not kept"), now));
        assert!(switches.is_armed() && switches.stopped().is_none());
    }

    #[test]
    fn watchers_look_first_and_are_told_of_every_change() {
        let switches = Switches::default();
        let mut watch = switches.watch();
        assert!(watch.has_changed().unwrap(), "to look at what came before");
        watch.mark_unchanged();
        switches.arm(true, None, Instant::now());
        assert!(!watch.has_changed().unwrap());
        switches.arm(false, None, Instant::now());
        assert!(watch.has_changed().unwrap());
    }

    #[test]
    fn a_tripped_rule_stays_off_until_it_is_told_otherwise() {
        let (switch, now) = (RuleSwitch::default(), Instant::now());
        let why = |guard: &str| Trip {
            guard: guard.into(),
            reason: "too many errors".into(),
            since: now,
        };
        assert!(switch.is_on(true) && !switch.is_on(false));
        assert!(switch.set(Switch::On) && switch.is_on(false));
        assert!(switch.trip(why("first")) && !switch.is_on(true));
        assert!(!switch.trip(why("second")), "the first one's reason stays");
        assert_eq!(switch.tripped(), Some(why("first")));
        assert!(switch.set(Switch::Configured) && switch.is_on(true));
        assert_eq!(switch.tripped(), None);
        assert!(
            switch.set(Switch::Off) && !switch.trip(why("third")),
            "it is off already"
        );
        assert_eq!(switch.position().name(), "off");
    }
}
