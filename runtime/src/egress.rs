//! Where a request may go: a pure rule on the address a name resolved to.
//!
//! Names prove nothing (DNS rebinding), so the rule is asked at connect time and the connection goes to the very address
//! that was asked about. Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4) are judged by that one too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A network in CIDR form, like `10.0.0.0/8` or `fc00::/7`; a bare address is the network of that one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, prefix: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix }
    }

    /// Whether `ip` lies in this network. IPv4 networks hold no IPv6 addresses.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(network) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(network) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a network; write an address and a prefix length, like \"10.0.0.0/8\" or \"fc00::/7\""
            )
        };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |text| text.parse().map_err(|_| wrong()))?;
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why an address is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forbidden {
    /// Listed in `egress.deny`.
    Denied,
    /// The machine itself, while a listener is open to other machines.
    Loopback,
    /// Link-local: there are the metadata services of clouds.
    LinkLocal,
    /// A private network, with `egress.private-networks` off.
    Private,
    /// Unspecified, multicast, broadcast, documentation and other addresses that name no host.
    NotAHost,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "it is listed in egress.deny",
            Self::Loopback => "it is this machine, and a listener is open to other machines",
            Self::LinkLocal => "it is link-local, where clouds keep their metadata services",
            Self::Private => "it is in a private network, and egress.private-networks is off",
            Self::NotAHost => "it is not the address of a host",
        })
    }
}

/// Which addresses requests may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Allowed whatever the rules below say.
    pub allow: Vec<Network>,
    /// Forbidden; stronger than `allow`.
    pub deny: Vec<Network>,
    /// Whether private networks are allowed.
    pub private_networks: bool,
    /// Whether this machine is allowed.
    pub loopback: bool,
}

impl EgressPolicy {
    /// The policy that `config` asks for: loopback is open only while every listener is loopback.
    #[must_use]
    pub fn from_config(config: &crate::config::Config) -> Self {
        Self {
            allow: config.egress.allow.clone(),
            deny: config.egress.deny.clone(),
            private_networks: config.egress.private_networks,
            loopback: config.listen.is_loopback_only(),
        }
    }

    /// Every address: for destinations that only the operator can name.
    #[must_use]
    pub fn unrestricted() -> Self {
        let (v4, v6) = (Network::v4(0, 0, 0, 0, 0), Network::v6(0, 0, 0));
        Self { allow: vec![v4, v6], deny: Vec::new(), private_networks: true, loopback: true }
    }

    /// Judges one address.
    ///
    /// # Errors
    /// The reason why no request may go there.
    pub fn check(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let inner = embedded_v4(ip);
        let listed = |networks: &[Network]| {
            networks
                .iter()
                .any(|network| network.contains(ip) || inner.is_some_and(|v4| network.contains(v4)))
        };
        if listed(&self.deny) {
            return Err(Forbidden::Denied);
        }
        if listed(&self.allow) {
            return Ok(());
        }
        // A carrier address is as dangerous as what it carries; one that carries a harmless address is judged itself.
        inner.map_or(Ok(()), |v4| self.check_kind(v4))?;
        if inner.is_some_and(|_| is_v4_mapped(ip)) { Ok(()) } else { self.check_kind(ip) }
    }

    fn check_kind(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let in_any = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        if ip.is_loopback() || in_any(&LOOPBACK) {
            return if self.loopback { Ok(()) } else { Err(Forbidden::Loopback) };
        }
        if in_any(&LINK_LOCAL) {
            return Err(Forbidden::LinkLocal);
        }
        if in_any(&NOT_A_HOST) {
            return Err(Forbidden::NotAHost);
        }
        if in_any(&PRIVATE) && !self.private_networks {
            return Err(Forbidden::Private);
        }
        Ok(())
    }
}

// The tables follow the IANA special-purpose address registries (RFC 6890 and its updates).

const LOOPBACK: [Network; 1] = [Network::v4(127, 0, 0, 0, 8)];

const LINK_LOCAL: [Network; 2] = [Network::v4(169, 254, 0, 0, 16), Network::v6(0xfe80, 0, 10)];

const PRIVATE: [Network; 6] = [
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(100, 64, 0, 0, 10), // carrier-grade NAT, also used inside clusters
    Network::v6(0xfc00, 0, 7),
    Network::v6(0xfec0, 0, 10), // site-local, deprecated and still routed by some
];

const NOT_A_HOST: [Network; 13] = [
    Network::v4(0, 0, 0, 0, 8), // "this network": Linux connects 0.0.0.0 to the machine itself
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
    Network::v6(0, 0, 32), // unspecified, IPv4-compatible and translated forms; ::1 and mapped ones are judged before
    Network::v6(0x0100, 0, 64),
    Network::v6(0x2001, 0x0db8, 32),
    Network::v6(0x2001, 0, 32), // Teredo: the IPv4 address inside is obscured
    Network::v6(0xff00, 0, 8),
];

fn is_v4_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The IPv4 address inside an IPv6 one: mapped `::ffff:0:0/96`, NAT64 `64:ff9b::/96` and `64:ff9b:1::/48`, 6to4 `2002::/16`.
fn embedded_v4(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return Some(IpAddr::V4(v4));
    }
    let octets = v6.octets();
    let at = |from: usize| {
        IpAddr::V4(Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3]))
    };
    match v6.segments() {
        [0x64, 0xff9b, 0 | 1, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], deny: &[&str], private_networks: bool, loopback: bool) -> EgressPolicy {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        EgressPolicy { allow: parse(allow), deny: parse(deny), private_networks, loopback }
    }

    fn verdict(policy: &EgressPolicy, ip: &str) -> Result<(), Forbidden> {
        policy.check(ip.parse().unwrap())
    }

    #[test]
    fn the_table_of_a_closed_policy() {
        use Forbidden::{LinkLocal, Loopback, NotAHost, Private};
        let closed = policy(&[], &[], false, false);
        for (ip, expected) in [
            ("1.1.1.1", Ok(())),
            ("2606:4700::1111", Ok(())),
            ("126.255.255.255", Ok(())),
            ("172.32.0.1", Ok(())),
            ("127.0.0.1", Err(Loopback)),
            ("127.255.0.9", Err(Loopback)),
            ("::1", Err(Loopback)),
            ("::ffff:127.0.0.1", Err(Loopback)),
            ("64:ff9b::127.0.0.1", Err(Loopback)),
            ("2002:7f00:1::", Err(Loopback)),
            ("169.254.169.254", Err(LinkLocal)),
            ("::ffff:169.254.169.254", Err(LinkLocal)),
            ("64:ff9b::a9fe:a9fe", Err(LinkLocal)),
            ("64:ff9b:1::a9fe:a9fe", Err(LinkLocal)),
            ("2002:a9fe:a9fe::1", Err(LinkLocal)),
            ("fe80::1", Err(LinkLocal)),
            ("febf::1", Err(LinkLocal)),
            ("10.1.2.3", Err(Private)),
            ("172.16.0.1", Err(Private)),
            ("192.168.1.1", Err(Private)),
            ("100.64.0.1", Err(Private)),
            ("fd00:ec2::254", Err(Private)),
            ("fec0::1", Err(Private)),
            ("64:ff9b::10.0.0.1", Err(Private)),
            ("::ffff:8.8.8.8", Ok(())),
            ("64:ff9b::8.8.8.8", Ok(())),
            ("0.0.0.0", Err(NotAHost)),
            ("::", Err(NotAHost)),
            ("::127.0.0.1", Err(NotAHost)),
            ("224.0.0.1", Err(NotAHost)),
            ("255.255.255.255", Err(NotAHost)),
            ("ff02::1", Err(NotAHost)),
            ("2001:db8::1", Err(NotAHost)),
            ("2001::1", Err(NotAHost)),
        ] {
            assert_eq!(verdict(&closed, ip), expected, "{ip}");
        }
    }

    #[test]
    fn an_open_policy_still_forbids_metadata_and_non_hosts() {
        let open = policy(&[], &[], true, true);
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "8.8.8.8"] {
            assert_eq!(verdict(&open, ip), Ok(()), "{ip}");
        }
        for ip in ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.1.1"] {
            assert!(verdict(&open, ip).is_err(), "{ip}");
        }
    }

    #[test]
    fn deny_is_stronger_than_allow_and_allow_than_the_rest() {
        let listed = policy(&["169.254.169.254", "10.0.0.0/8"], &["10.9.0.0/16", "8.8.8.0/24"], false, false);
        for (ip, expected) in [
            ("169.254.169.254", Ok(())),
            ("169.254.169.253", Err(Forbidden::LinkLocal)),
            ("10.8.0.1", Ok(())),
            ("10.9.0.1", Err(Forbidden::Denied)),
            ("::ffff:10.9.0.1", Err(Forbidden::Denied)),
            ("64:ff9b::8.8.8.8", Err(Forbidden::Denied)),
            ("8.8.4.4", Ok(())),
        ] {
            assert_eq!(verdict(&listed, ip), expected, "{ip}");
        }
    }

    #[test]
    fn networks_read_and_write() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fc00::/7", "1.2.3.4/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("1.2.3.4".parse::<Network>().unwrap().to_string(), "1.2.3.4/32");
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "localhost"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("9.9.9.9".parse().unwrap()));
    }
}
