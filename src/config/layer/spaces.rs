//! Changes of spaces, and what vanishes by itself.

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
        if known.is_none() && self.layer.spaces.len() >= MAX_SPACES {
            return Err(Refusal::Full(format!("there are {MAX_SPACES} spaces already")));
        }
        let mut opened = Vec::new();
        for (of, address) in listeners {
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
        let spaces: Vec<Arc<str>> = self.layer.spaces.iter().filter_map(over).collect();
        self.layer.spaces.retain(|_, space| !is_over(space.expires));
        let mut rules = Vec::new();
        self.layer.rules.retain(|rule| {
            let gone = is_over(rule.expires) || rule.id.space.as_ref().is_some_and(|space| spaces.contains(space));
            if gone {
                rules.push(rule.id.clone());
            }
            !gone
        });
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
