// The task of the pool: gives back what it is given.
export default (value) => value;
