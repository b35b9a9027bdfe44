mod files;
mod trust;
