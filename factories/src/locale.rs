//! The languages of names, places and phone numbers.

/// The language, and the country where that matters, of names, places and phone numbers: those that `fake` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "their tags say what they are")]
pub enum Locale {
    #[default]
    En,
    ArSa,
    CyGb,
    DeDe,
    FaIr,
    FrFr,
    ItIt,
    JaJp,
    NlNl,
    PtBr,
    PtPt,
    TrTr,
    ZhCn,
    ZhTw,
}

impl Locale {
    /// All of them.
    pub const ALL: &[Locale] = &[
        Locale::En,
        Locale::ArSa,
        Locale::CyGb,
        Locale::DeDe,
        Locale::FaIr,
        Locale::FrFr,
        Locale::ItIt,
        Locale::JaJp,
        Locale::NlNl,
        Locale::PtBr,
        Locale::PtPt,
        Locale::TrTr,
        Locale::ZhCn,
        Locale::ZhTw,
    ];

    /// The tag of [BCP 47](https://www.rfc-editor.org/info/bcp47), as `pt-BR`.
    pub fn tag(self) -> &'static str {
        match self {
            Locale::En => "en",
            Locale::ArSa => "ar-SA",
            Locale::CyGb => "cy-GB",
            Locale::DeDe => "de-DE",
            Locale::FaIr => "fa-IR",
            Locale::FrFr => "fr-FR",
            Locale::ItIt => "it-IT",
            Locale::JaJp => "ja-JP",
            Locale::NlNl => "nl-NL",
            Locale::PtBr => "pt-BR",
            Locale::PtPt => "pt-PT",
            Locale::TrTr => "tr-TR",
            Locale::ZhCn => "zh-CN",
            Locale::ZhTw => "zh-TW",
        }
    }
}

/// A value of a faker in the record's language; the faker is one of `fake`'s `raw` ones.
///
/// ```
/// use seaworthy_factories::{Locale, Record, Seed, localized};
///
/// let name = |locale| -> String {
///     let record = Record::new(Seed(7), "user", 0).in_locale(locale);
///     localized!(record, "name", fake::faker::name::raw::Name)
/// };
/// assert_eq!(name(Locale::En), name(Locale::En));
/// assert_ne!(name(Locale::En), name(Locale::JaJp));
/// ```
#[macro_export]
macro_rules! localized {
    ($record:expr, $field:expr, $faker:path) => {{
        let record: &$crate::Record = &$record;
        match record.locale() {
            $crate::Locale::En => record.fake($field, $faker($crate::__private::locales::EN)),
            $crate::Locale::ArSa => record.fake($field, $faker($crate::__private::locales::AR_SA)),
            $crate::Locale::CyGb => record.fake($field, $faker($crate::__private::locales::CY_GB)),
            $crate::Locale::DeDe => record.fake($field, $faker($crate::__private::locales::DE_DE)),
            $crate::Locale::FaIr => record.fake($field, $faker($crate::__private::locales::FA_IR)),
            $crate::Locale::FrFr => record.fake($field, $faker($crate::__private::locales::FR_FR)),
            $crate::Locale::ItIt => record.fake($field, $faker($crate::__private::locales::IT_IT)),
            $crate::Locale::JaJp => record.fake($field, $faker($crate::__private::locales::JA_JP)),
            $crate::Locale::NlNl => record.fake($field, $faker($crate::__private::locales::NL_NL)),
            $crate::Locale::PtBr => record.fake($field, $faker($crate::__private::locales::PT_BR)),
            $crate::Locale::PtPt => record.fake($field, $faker($crate::__private::locales::PT_PT)),
            $crate::Locale::TrTr => record.fake($field, $faker($crate::__private::locales::TR_TR)),
            $crate::Locale::ZhCn => record.fake($field, $faker($crate::__private::locales::ZH_CN)),
            $crate::Locale::ZhTw => record.fake($field, $faker($crate::__private::locales::ZH_TW)),
            // Every one is above; another crate's compiler can't know.
            #[allow(unreachable_patterns)]
            _ => record.fake($field, $faker($crate::__private::locales::EN)),
        }
    }};
}
