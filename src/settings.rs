//! What an operator decides for the whole mesh: one table, from which flags, environment variables,
//! Helm values and their documentation follow.

use std::fmt;
use std::time::Duration;

use crate::value::duration;

/// Declares the settings: the struct, its defaults, and the table [`SETTINGS`]. The documentation of
/// a field is its help text everywhere.
macro_rules! settings {
    ($($(#[doc = $meaning:literal])+ $field:ident: $type:ty, $form:expr, $default:expr;)+) => {
        /// The settings of isthmus that change a verdict.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $meaning])+ pub $field: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Every setting, in the order in which they are documented.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            field: stringify!($field),
            meaning: concat!($($meaning),+),
            form: $form,
            read: |settings| settings.$field.to_text(),
            write: |settings, text| Value::of_text(text).map(|value| settings.$field = value),
        },)+];
    };
}

settings! {
    /// The name of the member that isthmus guards: this cluster.
    local_member: String, Form::Name, "local".to_owned();
    /// Namespaces of Istio's own ConfigMaps and Endpoints.
    istio_namespaces: Vec<String>, Form::Namespaces,
        vec!["istio-system".to_owned(), "d8-istio".to_owned()];
    /// Namespaces in which ConfigMaps labelled isthmus.dev/member describe members.
    member_namespaces: Vec<String>, Form::Namespaces, vec!["isthmus".to_owned()];
    /// How to treat overlapping subnets of members on different networks.
    multi_network_overlap: Policy,
        Form::Policy(&[Policy::Deny, Policy::Warn, Policy::Ignore]), Policy::Warn;
    /// How to treat an IstioMulticluster that points back to the local member.
    self_reference: Policy, Form::Policy(&[Policy::Deny, Policy::Warn]), Policy::Deny;
    /// How to treat an overlap of a cluster that no document joins to the mesh yet and whose network
    /// is not stated; Auto warns where IstioMulticlusters are in use, and denies elsewhere.
    described_overlap: Policy, Form::Policy(&[Policy::Auto, Policy::Deny, Policy::Warn]),
        Policy::Auto;
    /// How to treat overlapping service subnets of two members on one network; pod subnets are not
    /// affected.
    service_overlap: Policy, Form::Policy(&[Policy::Deny, Policy::Warn]), Policy::Deny;
    /// Whether what breaks a rule is denied at all, or only warned of.
    enforcement: Policy, Form::Policy(&[Policy::Deny, Policy::Warn]), Policy::Deny;
    /// Options of kubeconfigs in remote Secrets that istiod accepts although they are insecure, as its
    /// variable PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS lists them.
    allowed_kubeconfig_options: Vec<String>, Form::Words, Vec::new();
    /// Deny an Istio 0.8 descriptor whose spec is misplaced under metadata, instead of warning.
    strict_descriptors: bool, Form::Switch, false;
    /// Whether the webhook reads a cluster that a new remote Secret or IstioMulticluster leads to, and
    /// judges the write by what that cluster shows.
    reach: bool, Form::Switch, true;
    /// How long reading such a cluster may take, up to 8s; after that, the write is judged without.
    reach_timeout: Duration, Form::Duration, Duration::from_secs(2);
}

impl Settings {
    /// Whether this is the name of the member that isthmus guards. A hub guards none.
    pub fn is_local(&self, name: &str) -> bool {
        !name.is_empty() && *name == *self.local_member
    }
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    field: &'static str,
    meaning: &'static str,
    /// What it takes.
    pub form: Form,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str) -> Result<(), String>,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A name.
    Name,
    /// A list of namespaces, separated by commas.
    Namespaces,
    /// A list of words, separated by commas.
    Words,
    /// One of these.
    Policy(&'static [Policy]),
    /// `true` or `false`.
    Switch,
    /// A duration such as `2s`, up to [`LONGEST`].
    Duration,
}

/// The longest duration that a setting takes: an API server waits for 10 seconds.
pub const LONGEST: Duration = Duration::from_secs(8);

impl Setting {
    /// The setting of a Helm value.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name() == name)
    }

    /// The field of [`Settings`].
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The Helm value, such as `localMember`.
    pub fn name(&self) -> String {
        let mut words = self.field.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let (initial, rest) = word.split_at(1);
            name + &initial.to_uppercase() + rest
        })
    }

    /// The flag without its dashes, such as `local-member`.
    pub fn flag(&self) -> String {
        self.field.replace('_', "-")
    }

    /// The environment variable, such as `ISTHMUS_LOCAL_MEMBER`.
    pub fn variable(&self) -> String {
        format!("ISTHMUS_{}", self.field.to_uppercase())
    }

    /// What it means, in a sentence or two.
    pub fn meaning(&self) -> String {
        let meaning = self.meaning.trim();
        match self.form {
            Form::Policy(choices) => {
                format!("{}: {}.", meaning.trim_end_matches('.'), listed(choices))
            }
            _ => meaning.to_owned(),
        }
    }

    /// The default, as it is written on the command line.
    pub fn default(&self) -> String {
        self.of(&Settings::default())
    }

    /// What some settings have it at, as it is written on the command line.
    pub fn of(&self, settings: &Settings) -> String {
        (self.read)(settings)
    }

    /// Changes settings to what is written on a command line.
    pub fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        if let Form::Policy(choices) = self.form
            && !choices.iter().any(|choice| choice.as_str().eq_ignore_ascii_case(text))
        {
            return Err(format!("{text:?} is not {}", listed(choices)));
        }
        (self.write)(settings, text)
    }
}

fn listed(policies: &[Policy]) -> String {
    let names: Vec<_> = policies.iter().map(|policy| policy.as_str()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// How seriously a rule is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The write is denied.
    Deny,
    /// The write is admitted, with a warning.
    Warn,
    /// Nothing is reported.
    Ignore,
    /// What is in use decides between a denial and a warning.
    Auto,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Deny, Self::Warn, Self::Ignore, Self::Auto];

    /// The name operators write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Ignore => "Ignore",
            Self::Auto => "Auto",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value as it is written on a command line.
trait Value: Sized {
    fn of_text(text: &str) -> Result<Self, String>;
    fn to_text(&self) -> String;
}

impl Value for String {
    fn of_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_text(&self) -> String {
        self.clone()
    }
}

impl Value for Vec<String> {
    fn of_text(text: &str) -> Result<Self, String> {
        Ok(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    fn to_text(&self) -> String {
        self.join(",")
    }
}

impl Value for bool {
    fn of_text(text: &str) -> Result<Self, String> {
        match &*text.to_ascii_lowercase() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" | "" => Ok(false),
            _ => Err(format!("{text:?} is not true or false")),
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    fn of_text(text: &str) -> Result<Self, String> {
        let duration = duration::positive(text)?;
        let too_long = || format!("must be at most {} s", LONGEST.as_secs());
        if duration > LONGEST { Err(too_long()) } else { Ok(duration) }
    }

    fn to_text(&self) -> String {
        format!("{}s", self.as_secs_f64())
    }
}

impl Value for Policy {
    fn of_text(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|policy| policy.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is not {}", listed(&Self::ALL)))
    }

    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_one_name_in_each_notation() {
        let setting = Setting::by_name("multiNetworkOverlap").unwrap();
        assert_eq!(setting.flag(), "multi-network-overlap");
        assert_eq!(setting.variable(), "ISTHMUS_MULTI_NETWORK_OVERLAP");
        assert_eq!(setting.default(), "Warn");
    }

    #[test]
    fn every_setting_reads_what_it_writes_and_takes_its_own_choices_only() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            setting.set(&mut settings, &setting.default()).unwrap();
            assert_eq!(settings, Settings::default(), "{}", setting.name());
            let other = match setting.form {
                Form::Name => "other",
                Form::Namespaces | Form::Words => "a,b",
                Form::Duration => "1.5s",
                Form::Switch => ["true", "false"][usize::from(setting.default() == "true")],
                Form::Policy(choices) => {
                    for policy in Policy::ALL {
                        let taken = setting.set(&mut settings, policy.as_str()).is_ok();
                        assert_eq!(taken, choices.contains(&policy), "{}", setting.name());
                    }
                    let mut others = choices.iter().map(|choice| choice.as_str());
                    others.find(|other| *other != setting.default()).unwrap()
                }
            };
            setting.set(&mut settings, other).unwrap();
            assert_eq!(setting.of(&settings), other);
            assert_ne!(settings, Settings::default());
        }
    }
}
