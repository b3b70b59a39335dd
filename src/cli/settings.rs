//! The settings that change a verdict, as flags and environment variables.

use std::sync::LazyLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::settings::{Form, SETTINGS, Setting, Settings};

/// What clap borrows for as long as the process runs.
static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| SETTINGS.iter().map(Flag::of).collect());

/// Flags that every judging command takes: one for each of [`SETTINGS`].
#[derive(Debug)]
pub(super) struct SettingsArgs {
    settings: Settings,
    /// Those that are not left at their defaults, by field.
    given: Vec<&'static str>,
}

struct Flag {
    setting: &'static Setting,
    long: String,
    variable: String,
    default: String,
    help: String,
}

impl SettingsArgs {
    pub(super) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Whether a flag or environment variable says what a setting is.
    pub(super) fn is_given(&self, setting: &Setting) -> bool {
        self.given.contains(&setting.field())
    }
}

impl Flag {
    fn of(setting: &'static Setting) -> Self {
        let help = setting.meaning();
        Self {
            setting,
            long: setting.flag(),
            variable: setting.variable(),
            default: setting.default(),
            help: help.strip_suffix('.').unwrap_or(&help).to_owned(),
        }
    }

    fn arg(&'static self) -> Arg {
        let Self { setting, long, variable, default, help } = self;
        let read =
            |text: &str| setting.set(&mut Settings::default(), text).map(|()| text.to_owned());
        let arg = Arg::new(setting.field())
            .long(long.as_str())
            .env(variable.as_str())
            .default_value(default.as_str())
            .value_parser(read)
            .help(help.as_str())
            .help_heading("Settings of the mesh");
        match setting.form {
            Form::Name => arg.value_name("NAME"),
            Form::Duration => arg.value_name("DURATION"),
            Form::Namespaces | Form::Words => arg.value_name("NAMES").action(ArgAction::Append),
            Form::Policy(_) => arg.value_name("POLICY"),
            Form::Switch => arg
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self { settings: Settings::default(), given: Vec::new() };
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in SETTINGS {
            let given = matches.get_many::<String>(setting.field()).into_iter().flatten();
            let text = given.map(String::as_str).collect::<Vec<_>>().join(",");
            let set = setting.set(&mut self.settings, &text);
            set.map_err(|error| Error::raw(clap::error::ErrorKind::InvalidValue, error))?;
            if matches.value_source(setting.field()) != Some(ValueSource::DefaultValue) {
                self.given.push(setting.field());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::Policy;

    #[derive(Parser)]
    struct Isthmus {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    fn given(flags: &[&str]) -> Result<Settings, Error> {
        let flags = std::iter::once(&"isthmus").chain(flags);
        Isthmus::try_parse_from(flags).map(|isthmus| isthmus.settings.settings())
    }

    #[test]
    fn each_form_of_a_setting_is_read() {
        assert_eq!(given(&[]).unwrap(), Settings::default());
        for (flag, strict) in [
            ("--strict-descriptors", true),
            ("--strict-descriptors=true", true),
            ("--strict-descriptors=false", false),
        ] {
            assert_eq!(given(&[flag]).unwrap().strict_descriptors, strict, "{flag}");
        }
        let names = ["--istio-namespaces=a,b", "--istio-namespaces", "c", "--member-namespaces="];
        let settings = given(&names).unwrap();
        assert_eq!(settings.istio_namespaces, ["a", "b", "c"]);
        assert!(settings.member_namespaces.is_empty());
        let settings = given(&["--self-reference", "warn", "--local-member="]).unwrap();
        assert_eq!((settings.self_reference, &*settings.local_member), (Policy::Warn, ""));
    }

    #[test]
    fn an_invalid_setting_is_rejected_with_its_valid_values() {
        for (flag, told) in [
            ("--self-reference=Ignore", "\"Ignore\" is not Deny or Warn"),
            ("--multi-network-overlap=x", "\"x\" is not Deny, Warn or Ignore"),
            ("--strict-descriptors=perhaps", "\"perhaps\" is not true or false"),
        ] {
            let error = given(&[flag]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
