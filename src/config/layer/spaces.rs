//! Changes of spaces, and what vanishes by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Draft, MAX_LISTENERS, MAX_SPACES, Refusal, Space, SpaceListener};
use crate::proxy::net::address::AddressSpec;
use crate::rule::id::{RuleId, check_space};
use crate::yaml::report::did_you_mean;

impl Draft<'_> {
    /// Opens a space, or renews it, with these listeners: each by its name in the file, and with an address unless squall is to
    /// pick one. Returns whether it is new.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a bad name or an unknown listener, [`Refusal::Full`].
    pub fn put_space(
        &mut self,
        name: &str,
        ttl: Option<Duration>,
        listeners: &[(String, Option<AddressSpec>)],
    ) -> Result<bool, Refusal> {
        check_space(name).map_err(Refusal::Conflict)?;
        let known = self.layer.spaces.get(name).cloned();
        self.check_room(known.is_none())?;
        let mut opened: Vec<SpaceListener> = Vec::new();
        for (of, address) in listeners {
            if opened.iter().any(|one| *one.of == **of) {
                return Err(Refusal::Conflict(format!("the listener `{of}` is named twice")));
            }
            let Some(base) = self.base.listeners.iter().find(|base| *base.of == **of) else {
                let names = || self.base.spec.listeners.names();
                let help = match did_you_mean(of, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known listeners: {}", names().collect::<Vec<_>>().join(", ")),
                };
                return Err(Refusal::Conflict(format!("there is no listener `{of}`; {help}")));
            };
            let before = known
                .iter()
                .flat_map(|space| &space.listeners)
                .find(|one| *one.of == **of);
            opened.push(SpaceListener {
                of: Arc::clone(&base.of),
                name: format!("{of}@{name}").into(),
                address: match (address, before) {
                    (Some(address), _) => address.clone(),
                    (None, Some(before)) => before.address.clone(),
                    (None, None) => free_port(&base.address),
                },
            });
        }
        let new = known.is_none();
        self.layer.spaces.insert(
            name.into(),
            Arc::new(Space {
                ttl,
                expires: ttl.and_then(|ttl| self.now.checked_add(ttl)),
                listeners: opened,
                of_rules: false,
            }),
        );
        if self.layer.listeners().count() > MAX_LISTENERS {
            return Err(Refusal::Full(format!(
                "spaces have {MAX_LISTENERS} listeners already; close one first"
            )));
        }
        self.changed = true;
        Ok(new)
    }

    /// Opens a space because a rule is in it. It lasts until it is closed, or until its last rule has outlived its time.
    pub(super) fn open_space(&mut self, name: &str) -> Result<(), Refusal> {
        check_space(name).map_err(Refusal::Conflict)?;
        self.check_room(true)?;
        let space = Space {
            of_rules: true,
            ..Space::default()
        };
        self.layer.spaces.insert(name.into(), Arc::new(space));
        self.changed = true;
        Ok(())
    }

    fn check_room(&self, is_new: bool) -> Result<(), Refusal> {
        if is_new && self.layer.spaces.len() >= MAX_SPACES {
            return Err(Refusal::Full(format!("there are {MAX_SPACES} spaces already")));
        }
        Ok(())
    }

    /// Closes a space: its rules go with it, and its listeners.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn remove_space(&mut self, name: &str) -> Result<(), Refusal> {
        if self.layer.spaces.remove(name).is_none() {
            return Err(Refusal::Unknown(format!("there is no space `{name}`")));
        }
        self.layer.rules.retain(|rule| rule.id.space.as_deref() != Some(name));
        self.changed = true;
        Ok(())
    }

    /// Removes what has outlived its time. Returns the rules and the spaces that are gone.
    pub fn expire(&mut self) -> (Vec<RuleId>, Vec<Arc<str>>) {
        let now = self.now;
        let is_over = |expires: Option<Instant>| expires.is_some_and(|expires| expires <= now);
        let over = |(name, space): (&Arc<str>, &Arc<Space>)| is_over(space.expires).then(|| Arc::clone(name));
        let mut spaces: Vec<Arc<str>> = self.layer.spaces.iter().filter_map(over).collect();
        self.layer.spaces.retain(|_, space| !is_over(space.expires));
        let mut rules = Vec::new();
        self.layer.rules.retain(|rule| {
            let gone = is_over(rule.expires) || rule.id.space.as_ref().is_some_and(|space| spaces.contains(space));
            if gone {
                rules.push(rule.id.clone());
            }
            !gone
        });
        // Nobody closes the spaces that rules of tests that died have opened.
        let of_rules: HashSet<&Arc<str>> = rules.iter().filter_map(|rule| rule.space.as_ref()).collect();
        for name in of_rules {
            let opened_by_rules = self.layer.spaces.get(name).is_some_and(|space| space.of_rules);
            if opened_by_rules && !self.layer.rules.iter().any(|rule| rule.id.space.as_ref() == Some(name)) {
                self.layer.spaces.remove(name);
                spaces.push(Arc::clone(name));
            }
        }
        self.changed |= !rules.is_empty() || !spaces.is_empty();
        (rules, spaces)
    }

    /// Lets a space live on from now.
    pub(super) fn renew(&mut self, space: Option<&str>) {
        if let Some(space) = space.and_then(|space| self.layer.spaces.get_mut(space))
            && let Some(ttl) = space.ttl
        {
            Arc::make_mut(space).expires = self.now.checked_add(ttl);
        }
    }
}

/// The same host with a port that the operating system picks. A copy of a unix socket's listener is on loopback.
fn free_port(address: &AddressSpec) -> AddressSpec {
    match address {
        AddressSpec::Tcp(address) => AddressSpec::Tcp((address.ip(), 0).into()),
        AddressSpec::Unix(_) => AddressSpec::Tcp(([127, 0, 0, 1], 0).into()),
    }
}
